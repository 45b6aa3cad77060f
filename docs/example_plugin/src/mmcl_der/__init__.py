"""Dark experience replay for MMCL."""
