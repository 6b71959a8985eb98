"""Find a device by name and check that it is available."""

import torch

from seewhy.errors import SeewhyError, Unknown

KINDS = ("cpu", "cuda", "mps")


def as_device(device: str | torch.device) -> torch.device:
    """Return the device named "cpu", "cuda", "cuda:1" or "mps".

    Raises `SeewhyError` if it is not available, `Unknown` if there is no such kind of device.
    """
    kind, _, number = str(device).partition(":")
    if kind not in KINDS or (number and not number.isdigit()):
        raise Unknown("device", device, KINDS, hint=f"expected {', '.join(KINDS)} or cuda:1")
    if kind == "cuda" and not torch.cuda.is_available():
        raise SeewhyError(f"no device {device}: torch finds no CUDA GPU here; use cpu")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise SeewhyError(f"no device {device}: torch finds no Apple GPU here; use cpu")
    count = torch.cuda.device_count() if kind == "cuda" else 1
    if number and int(number) >= count:
        last = f"{kind}:{count - 1}"
        raise SeewhyError(f"no device {device}: the last one here is {last}; use {last} or cpu")
    return torch.device(str(device))
