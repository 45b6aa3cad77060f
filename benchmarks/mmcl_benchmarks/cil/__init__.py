"""Class-incremental streams on CLIP: CIFAR-100, Tiny ImageNet, ImageNet-100 and ImageNet."""
