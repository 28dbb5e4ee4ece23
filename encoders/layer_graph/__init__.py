"""The network as a graph of affine layers and ReLUs."""
