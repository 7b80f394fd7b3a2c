"""The trading plane, and what joins all four: scenario in, result out.

`backtester.run.run_scenario` runs a scenario; `backtester.strategy.Strategy` is what a user
overrides; `backtester.result.load_result` reads a saved run. Nothing heavy is imported here.
"""
