"""Where the steps' container image is named. No registry host: a cluster's mirror puts its own in front."""

IMAGE = "clinadapt/cpu:0.1.0"
