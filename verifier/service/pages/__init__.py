"""The pages of the service: what a browser shows of networks, samples and runs while their brackets close."""
