"""Pictures by class: read, decoded, kept, augmented, and drawn into episodes."""
