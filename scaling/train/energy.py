"""Energy of a training: measured where the machine says what it draws, else from the documented model.

- ``rapl``: the processor's own counters (Linux powercap), of which a process gets the share of the machine's busy time
  that it used; several workers on one machine so add up to what was measured.
- ``nvml``: the counters of the accelerators that this process uses.
- ``model``: processor time times watts of a core, or accelerators times time times watts (:mod:`scaling.accounting`).

All three are of one process and its own accelerators. Where several train together, the leading one writes the records:
what the others drew is in none of them.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from pathlib import Path

import jax

from scaling.accounting import EnergySettings

POWERCAP = Path("/sys/class/powercap")
STAT = Path("/proc/stat")


class EnergyMeter:
    """Joules since it was last asked.

    Attributes:
        source: ``rapl``, ``nvml``, ``nvml+rapl`` or ``model``.
    """

    def __init__(self, settings: EnergySettings):
        rapl, nvml = rapl_counter(), nvml_counter() if jax.default_backend() == "gpu" else None
        self._counters = [counter for counter in (nvml, rapl) if counter]
        # A processor's counter alone would leave the accelerators out.
        if nvml is None and (rapl is None or jax.default_backend() != "cpu"):
            self._counters = [modelled_counter(settings)]
            self.source = "model"
        else:
            self.source = "+".join(name for name, counter in (("nvml", nvml), ("rapl", rapl)) if counter)
        self._seen = [counter() for counter in self._counters]

    def joules(self) -> float:
        """What was drawn since the last call; never negative."""
        now = [counter() for counter in self._counters]
        spent = sum(max(0.0, new - old) for new, old in zip(now, self._seen, strict=True))
        self._seen = now
        return spent


Counter = Callable[[], float]
"""Joules since some moment."""


def modelled_counter(settings: EnergySettings) -> Counter:
    """Energy by :class:`EnergySettings`: of the processor's cores by their time, of accelerators by the clock.

    A core here is what the system calls a processor, often one of two threads of a core.

    **Source:** of the defaults, as read there. 12 W a core: the row ``Any`` of the tool of Lannelongue et al. 2021,
    arXiv 2007.07610 (GreenAlgorithms/green-algorithms-tool, data/latest/TDP_cpu.csv); CodeCarbon takes 4 W a thread
    (mlco2/codecarbon, codecarbon/core/cpu.py). 330 W a V100 (GPT-3) and 289 W a TPU v3 (Meena), with memory, network,
    fans and host: Patterson et al. 2021, arXiv 2104.10350, table 4; its means over models are 325 W and 283 W (table
    3). 0.429 kg/kWh, the average US grid: there, section 2.4; CodeCarbon's average of the world is 0.475
    (carbon_intensity_per_source.json). PUE 1 is no data centre's: there, section 2.3, 1.59 in the US and 1.11 at one of
    Google's; 1.56 where unknown in the tool's defaults_PUE.csv. Of newer accelerators no measurement that holds the
    host was found, only the limits of boards: 350 W of an H100 PCIe (NVIDIA PB-11133-001).
    """
    platform, count = jax.default_backend(), jax.local_device_count()
    if platform == "cpu":
        return lambda: settings.core_watts(os.cpu_count() or 1) * time.process_time()
    return lambda: settings.accelerator_watts(platform) * count * time.monotonic()


def rapl_counter(powercap: Path = POWERCAP, stat: Path = STAT) -> Counter | None:
    """This process's share of what the processor packages and their memory drew; None where it cannot be read.

    The counters start over at ``max_energy_range_uj``, on a busy package every few minutes; to be asked more often.
    """
    try:
        zones = [folder for folder in powercap.glob("intel-rapl:*") if _measures(folder)]
        limits = {zone: int((zone / "max_energy_range_uj").read_text()) for zone in zones}
        seen = {zone: _microjoules(zone) for zone in zones}
        worked = _seconds_worked(stat)
    except (OSError, ValueError, IndexError):
        return None
    if not zones:
        return None
    total = 0.0

    def joules() -> float:
        nonlocal seen, worked, total
        try:
            now, (own, busy) = {zone: _microjoules(zone) for zone in zones}, _seconds_worked(stat)
        except OSError:  # gone for a moment, say: the next reading holds what was drawn meanwhile
            return total
        drawn = sum((now[zone] - seen[zone]) % limits[zone] for zone in zones)
        share = (own - worked[0]) / (busy - worked[1]) if busy > worked[1] else 1.0
        total += drawn / 1e6 * min(1.0, max(0.0, share))
        seen, worked = now, (own, busy)
        return total

    return joules


def _measures(zone: Path) -> bool:
    """True for packages and their memory; cores are part of a package, and ``psys`` holds all of them."""
    return (zone / "name").read_text().strip().startswith(("package", "dram"))


def _microjoules(zone: Path) -> int:
    return int((zone / "energy_uj").read_text())


def _seconds_worked(stat: Path) -> tuple[float, float]:
    """Processor seconds of this process, and of everybody on the machine."""
    ticks = [int(field) for field in stat.read_text().splitlines()[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    return time.process_time(), (sum(ticks) - idle) / os.sysconf("SC_CLK_TCK")


def nvml_counter(library: ctypes.CDLL | None = None) -> Counter | None:
    """What the accelerators of this process drew, by NVIDIA's management library; None where it cannot be asked."""
    try:
        library = library or ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    if library.nvmlInit_v2():
        return None
    found = [_nvml_device(library, name) for name in _visible_devices()]
    devices = [device for device in found if device is not None and _millijoules(library, device) is not None]

    def joules() -> float:
        return sum(_millijoules(library, device) or 0 for device in devices) / 1e3

    # The energy of some of several devices would pass for that of all.
    return joules if devices and len(devices) == len(found) else None


def _visible_devices() -> list[str]:
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named:
        return [name.strip() for name in named.split(",")]
    return [str(device.local_hardware_id) for device in jax.local_devices()]


def _nvml_device(library: ctypes.CDLL, name: str) -> ctypes.c_void_p | None:
    device = ctypes.c_void_p()
    if name.isdecimal():
        failed = library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(int(name)), ctypes.byref(device))
    else:
        failed = library.nvmlDeviceGetHandleByUUID(name.encode(), ctypes.byref(device))
    return None if failed else device


def _millijoules(library: ctypes.CDLL, device: ctypes.c_void_p) -> int | None:
    drawn = ctypes.c_ulonglong()
    return None if library.nvmlDeviceGetTotalEnergyConsumption(device, ctypes.byref(drawn)) else drawn.value
