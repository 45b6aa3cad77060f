"""The multimodal model: a backbone, a fusion and a head."""
