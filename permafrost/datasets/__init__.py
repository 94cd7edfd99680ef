"""Files on disk -> a verified Dataset: CIFAR-10, CIFAR-100, or a packed directory of images."""
