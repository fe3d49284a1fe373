"""Energy from counters that wrap around and are shared, from an accelerator's library, and from the model."""

from __future__ import annotations

import time

import pytest

from scaling.accounting import EnergySettings
from scaling.errors import SpecError
from scaling.train import energy
from scaling.train.energy import EnergyMeter, nvml_counter, rapl_counter

LIMIT = 1_000_000


class Machine:
    """A powercap folder with a package, its cores and its memory, and the processor time of everybody."""

    def __init__(self, folder):
        self.powercap, self.stat = folder / "powercap", folder / "stat"
        for zone, name in (("0", "package-0"), ("0:0", "core"), ("0:1", "dram"), ("1", "psys")):
            path = self.powercap / f"intel-rapl:{zone}"
            path.mkdir(parents=True)
            (path / "name").write_text(f"{name}\n")
            (path / "max_energy_range_uj").write_text(f"{LIMIT}\n")
        self.set(0, busy=0)

    def set(self, microjoules: int, *, busy: int) -> None:
        """Every zone at this count; ``busy`` ticks of a hundredth of a second, and idle ones beside them."""
        for zone in self.powercap.iterdir():
            (zone / "energy_uj").write_text(f"{microjoules}\n")
        self.stat.write_text(f"cpu  {busy} 0 0 999 77 0 0 0 0 0\ncpu0 0\n")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    monkeypatch.setattr(energy.os, "sysconf", lambda name: 100)
    return Machine(tmp_path)


def test_packages_and_memory_count_once_and_over_the_wrap(machine, monkeypatch):
    monkeypatch.setattr(time, "process_time", iter([0.0, 1.0, 2.0]).__next__)
    machine.set(900_000, busy=0)
    counter = rapl_counter(machine.powercap, machine.stat)
    machine.set(950_000, busy=100)
    assert counter() == pytest.approx(2 * 0.05)
    machine.set(20_000, busy=200)
    assert counter() == pytest.approx(2 * 0.05 + 2 * 0.07)


def test_a_process_is_charged_with_its_share_of_the_busy_time(machine, monkeypatch):
    monkeypatch.setattr(time, "process_time", iter([5.0, 6.0]).__next__)
    counter = rapl_counter(machine.powercap, machine.stat)
    machine.set(400_000, busy=400)
    assert counter() == pytest.approx(2 * 0.4 * 1 / 4)


def test_a_counter_that_cannot_be_read_is_none_and_one_that_is_lost_stands_still(machine, tmp_path):
    assert rapl_counter(tmp_path / "nowhere", machine.stat) is None
    assert rapl_counter(machine.powercap, tmp_path / "nowhere") is None
    counter = rapl_counter(machine.powercap, machine.stat)
    machine.stat.unlink()
    assert counter() == 0.0


class Library:
    """NVIDIA's library as far as it is called: two devices, one also known by a name."""

    def __init__(self, failing: str = ""):
        self.failing = failing
        self.millijoules = {1: 5_000, 2: 7_000}

    def nvmlInit_v2(self):
        return int(self.failing == "init")

    def nvmlDeviceGetHandleByIndex_v2(self, index, handle):
        handle._obj.value = index.value + 1
        return 0

    def nvmlDeviceGetHandleByUUID(self, name, handle):
        handle._obj.value = {b"GPU-x": 2}.get(name)
        return int(handle._obj.value is None)

    def nvmlDeviceGetTotalEnergyConsumption(self, device, drawn):
        drawn._obj.value = self.millijoules[device.value]
        return int(self.failing == "energy")


@pytest.mark.parametrize(
    ("visible", "joules"), [("0,1", 12.0), ("0", 5.0), ("GPU-x", 7.0), (" 0, 1 ", 12.0), ("0, GPU-x", 12.0)]
)
def test_the_accelerators_that_are_visible_are_summed(monkeypatch, visible, joules):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert nvml_counter(Library())() == joules


@pytest.mark.parametrize(("failing", "visible"), [("init", "0"), ("energy", "0"), ("", "GPU-unknown")])
def test_a_library_that_does_not_answer_is_no_counter(monkeypatch, failing, visible):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert nvml_counter(Library(failing)) is None


def test_without_counters_a_meter_follows_the_model(monkeypatch):
    monkeypatch.setattr(energy, "rapl_counter", lambda: None)
    monkeypatch.setattr(time, "process_time", iter([10.0, 13.0, 13.0]).__next__)
    meter = EnergyMeter(EnergySettings())
    assert meter.source == "model"
    assert meter.joules() == pytest.approx(3 * 12)
    assert meter.joules() == 0


def test_with_a_counter_a_meter_says_so(monkeypatch):
    monkeypatch.setattr(energy, "rapl_counter", lambda: iter([100.0, 130.0, 120.0]).__next__)
    meter = EnergyMeter(EnergySettings())
    assert (meter.source, meter.joules(), meter.joules()) == ("rapl", 30.0, 0.0)


def test_settings_are_read_from_the_environment():
    settings = EnergySettings.from_environment({"SCALING_WATTS": "65", "SCALING_PUE": "1.1", "SCALING_KG_PER_KWH": "0"})
    assert settings == EnergySettings(watts=65, pue=1.1, kg_per_kwh=0)
    assert settings.core_watts(4) == 65 / 4
    assert settings.accelerator_watts("gpu") == 65
    assert settings.kwh(3.6e6) == pytest.approx(1.1)
    assert EnergySettings.from_environment({"SCALING_PUE": ""}) == EnergySettings()
    assert EnergySettings().co2e_kg(10) == pytest.approx(4.29)


@pytest.mark.parametrize(("name", "text"), [("SCALING_PUE", "0.9"), ("SCALING_WATTS", "much"), ("SCALING_PUE", "inf")])
def test_a_setting_that_cannot_be_is_refused_by_name(name, text):
    with pytest.raises(SpecError, match=f"{name} is '{text}'"):
        EnergySettings.from_environment({name: text})
