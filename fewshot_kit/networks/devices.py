"""Choose where tensors live."""

import torch


def pick_device(name: str = "auto") -> torch.device:
    """Return the device called `name`; "auto" is CUDA where there is one. Raises ValueError for a device this machine lacks."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device must be auto, cpu or cuda, not {name!r}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {name!r} was asked for, but torch sees no CUDA GPU here; use device='cpu' (or 'auto')")
    return device
