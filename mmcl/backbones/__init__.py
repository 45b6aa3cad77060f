"""Pre-trained models of open_clip and transformers behind MMCL's backbone interface."""
