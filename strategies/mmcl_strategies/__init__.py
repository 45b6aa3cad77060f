"""MMCL's own strategies. They come in through the same entry points as anyone's."""
