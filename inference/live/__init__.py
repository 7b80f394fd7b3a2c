"""The live loop: what `inference/serving` simulates, done in real time by real deployments."""
