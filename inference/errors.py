"""Errors of the inference plane.

* SimulationError
    * InputError
        * ModelNotFoundError     a model URI that leads to nothing readable
        * FeatureMismatchError   a model that reads other columns than the rows have
        * PredictorError         a predictor class that cannot be found, built or used
        * NoClusterError         no Ray where one was expected (a ServingError too)
        * NotOnRayError          a policy that Ray Serve does not have (a ServingError too)
        * NoProcessorError       a processor to bind to that is not there (a ServingError too)
        * NotDeployedError       no deployment of the name (a ServingError too)
        * SilentReplicasError    replicas that do not answer in time (a ServingError too)
    * ModelFailedError           a model raised, or answered in the wrong shape, during a run
    * ServingError               a real deployment cannot be made, found or reached
"""

from __future__ import annotations

from clock.errors import InputError, SimulationError


class ModelNotFoundError(InputError, LookupError):
    """A model URI names no registered version, no run's artifact or no file."""


class FeatureMismatchError(InputError):
    """A model reads other features, or the same ones in another order, than the rows hold."""


class PredictorError(InputError):
    """A predictor class cannot be found, or cannot read the model it is given."""


class ModelFailedError(SimulationError):
    """A model raised, or returned something other than one value a row."""


class ServingError(SimulationError):
    """A real deployment cannot be made, found or reached."""


class NoClusterError(ServingError, InputError):
    """There is no Ray where one was expected."""


class NotOnRayError(ServingError, InputError):
    """A scenario asks of a real deployment what Ray Serve does not do."""


class NoProcessorError(ServingError, InputError):
    """A scenario binds models to a processor that the host lacks, or leaves none to the rest."""


class NotDeployedError(ServingError, InputError, LookupError):
    """Nothing is deployed under the name."""


class SilentReplicasError(ServingError, InputError, TimeoutError):
    """Replicas gave no answer for longer than the scenario allows."""
