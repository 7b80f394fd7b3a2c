"""The real stack: deployments on Ray Serve, local or on any cluster, behind the `Backend` seam.

Ray is imported inside functions, when it is first used: importing this package costs nothing.
"""

from __future__ import annotations

from inference.ray_serve.backend import RayServeBackend
from inference.ray_serve.cluster import RayCluster, ray_cluster
from inference.ray_serve.deploy import Deployed, deploy
from inference.ray_serve.processors import of_models

__all__ = ["Deployed", "RayCluster", "RayServeBackend", "deploy", "of_models", "ray_cluster"]
