#!/usr/bin/python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""QEMU's own virtio-blk-pci under the shipped drivers, through VFIO in the small guest (`make run-qemu`).

The last lines are those of the selftest's grammar. Exit status 0: everything passed; 1: something did not.
"""
import argparse
import dataclasses
import pathlib
import re
import subprocess
import sys
import threading
import time

import guest

MIB = guest.MIB
SCENARIOS = guest.REPOSITORY / "storhost" / "tests" / "scenarios"
MADE = guest.BUILT / "made"
ERRORS = guest.REPOSITORY / "storhost" / "tests" / "qemu"
ARCHITECTURES = {"x64": "storhost", "x86": "storhost-x86"}
INTERRUPTS = ("intx", "msix:2")
PLATFORM = {"iommu_platform": True}
DEFAULT_SIZE = 64 * MIB  # of a scenario's disk that says nothing else
DISKS_PER_BOOT = 24
FULL_MIB = 2048
REQUESTS_PER_MIB = 24  # of mixed load with up to 256 KiB each; how much it was QEMU tells
LOAD_DEADLINE = 3600  # seconds for that, which takes minutes
ECAM = 0xB0000000  # of q35, as the firmware sets it up
MSIX_CAPABILITY, MSIX_ENABLE = 0x11, 0x8000

# What QEMU's device has to be told to be as the contract's is, where it can be.
CONTRACT = {"queue-size": 128, "num-queues": 1, "vectors": 2, "event_idx": False, "discard": False,
            "write-zeroes": False, "config-wce": False}
# What a scenario may ask of the device, and the properties of QEMU's that are the same.
WORDS = {
    "qemu-layout": {},
    "no-interrupt=honoured": {},
    "blk-size=4096": {"logical_block_size": 4096, "physical_block_size": 4096},
    "read-only=1": {},  # of the medium
}
FEATURES = {"+event_idx": {"event_idx": True}, "+config_wce": {"config-wce": True}, "+mq": {},
            "-indirect": {"indirect_desc": False}, "+discard": {"discard": True},
            "+write_zeroes": {"write-zeroes": True}}
NUMBERS = {"msix-vectors": "vectors", "num-queues": "num-queues"}
# What storhost knows only if it sees each access to a register, and what only QEMU knows.
SEEN = ("doorbells", "isr_reads", "driver_mmio_reads", "driver_mmio_writes")
UNKNOWN = ("requests", "bytes_read", "bytes_written", "flushes", "discards", "zeroes", "faults")
CHANCE = ("reorder", "batch", "outstanding")  # of a device that works when it likes

# Scenarios that are about the contract device itself, or need what QEMU's cannot have, though their words say nothing.
INAPPLICABLE = {
    "test-the-diagnostic-query-counts": "expects exactly the features of the contract device",
    "test-few-doorbells-for-many-requests": "expects the pace of storhost's device",
    "test-a-shared-message-is-asked-by-batch": "expects the pace of storhost's device",
    "test-a-dump-needs-no-interrupt": "QEMU sends the first interrupt after a reset whatever used_event says",
}


class Inapplicable(Exception):
    """Why QEMU's device cannot take part."""


# ---- scenarios ----

@dataclasses.dataclass
class Scenario:
    path: pathlib.Path
    size: int = DEFAULT_SIZE
    properties: dict = dataclasses.field(default_factory=lambda: dict(CONTRACT))
    words: list = dataclasses.field(default_factory=list)
    build: str = ""  # the folder of the checked driver
    architecture: str = ""  # the only one it is for
    interrupts: str = ""  # its own
    counts: bool = False  # accesses to registers

    @property
    def name(self):
        return self.path.stem

    @property
    def read_only(self):
        return "read-only=1" in self.words

    def key(self):
        return tuple(sorted(self.properties.items())), self.read_only


def of_word(word, words):
    """QEMU's properties for one word of a device's options."""
    key, _, value = word.partition("=")
    if key in CHANCE:
        return {}
    if word in WORDS:
        return WORDS[word]
    if key == "features":
        parts = re.findall(r"[+-][a-z_0-9]+", value)
        if "".join(parts) == value and all(part in FEATURES for part in parts):
            return {name: one for part in parts for name, one in FEATURES[part].items()}
    if key in NUMBERS:
        return {NUMBERS[key]: int(value, 0)}
    if key == "serial" and len(value) <= 20:
        return {"serial": value}
    # QEMU derives one from the other.
    if key == "queue-size" and int(value) in (16, 32, 64, 128, 256, 512, 1024):
        return {"queue-size": int(value)}
    sizes = [int(one.partition("=")[2]) for one in words if one.startswith("queue-size=")] or [128]
    if key == "seg-max" and int(value, 0) == sizes[0] - 2:
        return {}
    raise Inapplicable(f"QEMU's device has no {word}")


def parse_size(text):
    return int(text[:-1]) << {"K": 10, "M": 20, "G": 30, "T": 40}[text[-1]] if text[-1] in "KMGT" else int(text)


def read_scenario(path):
    scenario = Scenario(path)
    if path.stem in INAPPLICABLE:
        raise Inapplicable(INAPPLICABLE[path.stem])
    for line in path.read_text(encoding="utf-8").splitlines():
        verb, *words = line.split() or [""]
        if verb == "device":
            # '=' of a text that QEMU has no use for does not come with commas.
            new = words[0].split(",")
            for word in new:
                scenario.properties.update(of_word(word, new))
            scenario.words += new
        elif verb == "disk":
            scenario.size = parse_size(words[0])
        elif verb == "driver":
            scenario.build = "chk/" if "chk" in words else ""
            scenario.architecture = next((word for word in words if word in ARCHITECTURES), "")
        elif verb in ("expect", "mark") and words[0] in UNKNOWN:
            raise Inapplicable(f"QEMU does not tell the number of {words[0]}")
        elif verb in ("expect", "mark") and words[0] in SEEN:
            scenario.counts = True
        elif verb == "fault":
            raise Inapplicable("QEMU's device cannot be told to go wrong")
        elif verb == "option" and words[0] == "interrupts":
            if words[1].startswith("msi:"):
                raise Inapplicable("QEMU's device has no MSI")
            scenario.interrupts = words[1]
        elif verb == "live" and "only" not in words:
            raise Inapplicable("QEMU's device cannot be told to go wrong")
    return scenario


def applicable(paths):
    """Scenarios, and the reasons of those that are none here, by name."""
    scenarios, reasons = [], {}
    for path in paths:
        try:
            scenarios.append(read_scenario(path))
        except Inapplicable as reason:
            reasons[path.stem] = str(reason)
    return scenarios, reasons


# ---- jobs of the guest ----

FUNCTIONS = r"""
exec 3<>/dev/ttyS1
stty -F /dev/ttyS1 raw -echo
# Says something to whoever holds the devices in his hands, and waits for his answer.
tell() {
	echo "$*" >&3
	read -r answer <&3
	[ "$answer" = ok ] || echo "guest: '$*' is answered by: $answer"
}
"""
MEMORY = str(guest.RESERVED_MIB)
PHYSICAL = guest.physical_memory(guest.RESERVED_AT)


def steps(architecture, interrupts, disk, scenario, seed, file=None):
    """Lines for a job: a new medium, and the scenario on it."""
    fresh = [] if scenario.read_only else [f"tell fresh $(function_at {disk.slot}) {scenario.size}"]
    return [*fresh, command(architecture, interrupts, disk, scenario, seed, file)]


def command(architecture, interrupts, disk, scenario, seed, file=None):
    spec = f"vfio:$(function_at {disk.slot}),control=/dev/ttyS1"
    spec += f",has={'/'.join(scenario.words)}" if scenario.words else ""
    spec += ",registers=seen" if scenario.counts else ""
    memory = MEMORY if disk.properties.get("iommu_platform") else PHYSICAL
    driver = f"/drivers/{architecture}/{scenario.build}aero_virtio_blk.sys"
    return (f"{ARCHITECTURES[architecture]} run {driver} --parameter layout=any --seed {seed} --memory {memory} "
            f"--interrupts {interrupts} --device {spec} {file or f'/{scenario.path.parent.name}/{scenario.path.name}'}")


@dataclasses.dataclass
class Outcome:
    run: str
    verdict: str
    text: str


class Job:
    """A script for the guest, and what came of each of its commands."""

    def __init__(self):
        self.lines = [FUNCTIONS]
        self.runs = []
        self.files = []  # that the guest gets besides

    def add(self, run, *lines):
        self.runs.append(run)
        self.lines += [f"tell stage {run}", f"echo '== {run}'", *lines]

    def text(self):
        return "\n".join([*self.lines, "tell stage end"]) + "\n"

    def outcomes(self, said):
        """One for each run; one that said nothing has failed. What the kernel complains of is a failure, too."""
        parts = dict(part.partition("\n")[::2] for part in re.split(r"^== ", said.replace("\r", ""), flags=re.MULTILINE))
        for run in self.runs:
            verdict = re.search(r"^(PASS|FAIL|SKIP) (.*)$", parts.get(run, ""), re.MULTILINE)
            if verdict:
                yield Outcome(run, *verdict.groups())
            else:
                yield Outcome(run, "FAIL", f"nothing was said: {parts.get(run, '')[-300:]!r}")
        for line in re.findall(r"^guest: (?:kernel|no|').*", said.replace("\r", ""), re.MULTILINE):
            yield Outcome("the guest", "FAIL", line)


class Watched(guest.Guest):
    """A guest whose functions are watched for the kind of interrupts that they have on, stage by stage."""

    def __init__(self, *arguments, **keywords):
        self.stage = ""
        self.seen = {}  # by stage, what MSI-X was at some time
        self.moved = {}  # by stage, bytes read and written by QEMU
        self._before = 0
        super().__init__(*arguments, **keywords)
        threading.Thread(target=self._watch, daemon=True).start()

    def _answer(self, request):
        if request.startswith("stage "):
            total = self._transferred()
            self.moved[self.stage] = total - self._before
            self.stage, self._before = request[len("stage "):].strip(), total
            return "ok"
        return super()._answer(request)

    def _transferred(self):
        """Bytes that QEMU read and wrote for its devices so far."""
        stats = [one["stats"] for one in self.monitor.do("query-blockstats")]
        return sum(one["rd_bytes"] + one["wr_bytes"] for one in stats)

    def _config(self, place, offset, size):
        """Configuration space as the machine's bus has it: QMP's query-pci tells no capabilities."""
        bus, slot, function = int(place[5:7], 16), int(place[8:10], 16), int(place[11:], 16)
        address = ECAM + (bus << 20 | slot << 15 | function << 12) + offset
        answer = self.monitor.do("human-monitor-command", {"command-line": f"xp /1x{size} {address:#x}"})
        return int(answer.split(":")[1], 16)

    def msix_enabled(self, place):
        at = self._config(place, 0x34, "b")
        for _ in range(48):
            if not 0x40 <= at < 0xFF:
                return None
            if self._config(place, at, "b") == MSIX_CAPABILITY:
                return bool(self._config(place, at + 2, "h") & MSIX_ENABLE)
            at = self._config(place, at + 1, "b")
        return None

    def _watch(self):
        while self._process.poll() is None:
            stage = self.stage
            try:
                if stage:
                    for place in [place for place, disk in (self._places or {}).items() if disk.watched]:
                        self.seen.setdefault(stage, set()).add(self.msix_enabled(place))
            except (guest.Failed, OSError, ValueError, IndexError):
                pass  # it is going down
            time.sleep(0.05)


def boot(image, name, disks, job, deadline):
    begin = time.monotonic()
    with Watched(image, guest.BUILT / name, disks, job.text(), files=job.files, deadline=deadline) as machine:
        said = machine.wait()
    outcomes = list(job.outcomes(said))
    print(f"{name}: {len(job.runs)} runs on {len(disks)} devices by {machine.accelerator} in "
          f"{time.monotonic() - begin:.0f} s: "
          + ", ".join(f"{sum(one.verdict == verdict for one in outcomes)} {verdict}" for verdict in ("PASS", "FAIL", "SKIP")),
          flush=True)
    for one in outcomes:
        if one.verdict != "PASS":
            print(f"  {one.verdict} {one.run}: {one.text}", flush=True)
    return outcomes, machine


# ---- the scenarios on their devices ----

def run_scenarios(image, name, scenarios, architectures, interrupts, seed, deadline):
    """Each scenario on a device of its make, by groups of devices that fit into a boot."""
    outcomes = []
    keys = sorted({scenario.key() for scenario in scenarios}, key=repr)
    for start in range(0, len(keys), DISKS_PER_BOOT):
        part = keys[start:start + DISKS_PER_BOOT]
        disks = [guest.Disk(DEFAULT_SIZE, {**dict(properties), **PLATFORM}, {"read-only": True} if read_only else {})
                 for properties, read_only in part]
        for number, disk in enumerate(disks):
            disk.number = number
        job = Job()
        for architecture in architectures:
            for mode in interrupts:
                for scenario in (one for one in scenarios if one.key() in part):
                    if (scenario.interrupts and mode != interrupts[0]) or scenario.architecture not in ("", architecture):
                        continue
                    disk = disks[part.index(scenario.key())]
                    job.add(f"{architecture} {mode} {scenario.name}", *steps(architecture, mode, disk, scenario, seed))
        more, _ = boot(image, f"{name}{start // DISKS_PER_BOOT or ''}", disks, job, deadline)
        outcomes += more
    return outcomes


# ---- what QEMU does to a disk while it works ----

def load_scenario(directory, mib):
    """A scenario whose verified load moves about that much, whatever else the load does beside it."""
    text = (f"# {mib} MiB of mixed load come back complete and unmixed\nlimit {LOAD_DEADLINE}\ndisk 1G\noption cpus 2\nstart\n"
            f"load {mib * REQUESTS_PER_MIB} depth 32 mix 50 bytes 262144\nexpect busy == 0\nexpect resets == 0\nexpect timeouts == 0\n")
    path = directory / f"load-of-{mib}-mib.scn"
    path.write_text("# SPDX-License-Identifier: MIT OR Apache-2.0\n" + text)
    return path


def own_disks():
    """By name: a device of QEMU's as it comes, off and on the IOMMU, at a port and on the root complex; and bad ones."""
    disks = {
        "at a port, platform on": guest.Disk(1 << 30, dict(PLATFORM)),
        "at a port, platform off": guest.Disk(1 << 30),
        "on the root complex, platform on": guest.Disk(1 << 30, dict(PLATFORM), on_root_complex=True),
        "on the root complex, platform off": guest.Disk(1 << 30, on_root_complex=True),
        "bad sector": guest.Disk(properties={**PLATFORM, "rerror": "report", "werror": "report"}, bad_sectors=(131001,)),
        "throttled": guest.Disk(properties=dict(PLATFORM), iops=100),
    }
    for number, disk in enumerate(disks.values()):
        disk.number, disk.watched = number, True
    return disks


PULLED = ("test-a-device-pulled-out-under-load-returns-every-request",
          "test-a-device-pulled-out-after-hibernation-returns-every-request")


def run_own(image, mib, architectures, interrupts, seed, deadline):
    """Load of that much in each combination; errors, throttling, resizes and removal; and whether MSI-X is on."""
    disks, job = own_disks(), Job()
    MADE.mkdir(parents=True, exist_ok=True)
    load = load_scenario(MADE, mib)
    job.files.append(load)
    for architecture in architectures:
        for mode in interrupts:
            def add(name, disk, path):
                job.add(f"{architecture} {mode} {name}",
                        *steps(architecture, mode, disk, read_scenario(path), seed, f"/{path.name}" if path == load else None))

            for name, disk in list(disks.items())[:4]:
                add(f"load of {mib} MiB {name}", disk, load)
            add("bad sector", disks["bad sector"], ERRORS / "test-an-error-of-the-host-s-is-that-request-s-alone.scn")
            add("throttled", disks["throttled"], ERRORS / "test-a-throttled-disk-costs-time-and-nothing-else.scn")
            for name in PULLED:
                add(name, disks["at a port, platform on"], SCENARIOS / f"{name}.scn")
    outcomes, machine = boot(image, "own", list(disks.values()), job, deadline)
    loads = [run for run in job.runs if " load of " in run]
    outcomes += [judge_msix(run, machine.seen.get(run, set())) for run in loads]
    outcomes += [judge_amount(run, machine.moved.get(run, 0), mib) for run in loads]
    errors = [event for event in machine.monitor.events if event["event"] == "BLOCK_IO_ERROR"]
    outcomes.append(Outcome("own", "PASS" if errors and all(event["data"]["action"] == "report" for event in errors)
                            else "FAIL", f"QEMU reported {len(errors)} errors to the guest"))
    for one in outcomes[len(job.runs):]:
        print(f"  {one.verdict} {one.run}: {one.text}", flush=True)
    return outcomes


def run_load(image, mib, seed):
    """Load of that much, once."""
    disk, job = guest.Disk(1 << 30, dict(PLATFORM)), Job()
    MADE.mkdir(parents=True, exist_ok=True)
    load = load_scenario(MADE, mib)
    job.files.append(load)
    job.add(f"x64 msix:2 load of {mib} MiB", *steps("x64", "msix:2", disk, read_scenario(load), seed, f"/{load.name}"))
    outcomes, machine = boot(image, "load", [disk], job, LOAD_DEADLINE)
    amount = judge_amount(job.runs[0], machine.moved.get(job.runs[0], 0), mib)
    print(f"  {amount.verdict} {amount.run}: {amount.text}", flush=True)
    return [*outcomes, amount]


def judge_amount(run, moved, mib):
    return Outcome(run, "PASS" if moved >= mib * MIB else "FAIL", f"{moved // MIB} MiB were moved according to QEMU")


def judge_msix(run, seen):
    """MSI-X is off before a driver starts and after it: on at some time, or never."""
    wanted = "msix" in run.split()[1]
    enabled = True in seen
    return Outcome(run, "PASS" if enabled == wanted and seen else "FAIL",
                   f"MSI-X {'was' if enabled else 'was never'} enabled according to QEMU")


def run_harness(image, architecture):
    """Whether the guest's selftest passes by the host harness, whose lines are printed."""
    settings = f"aero.arch={architecture} aero.build=chk aero.expect-msi=1 aero.resize=1 aero.reset=1"
    words = guest.harness_words(image, settings, "--output", guest.BUILT / f"harness-{architecture}",
                                "--virtio-blk-vectors", 2, "--qemu-preflight-pci", "--require-virtio-blk-msix",
                                "--with-blk-resize", "--with-blk-reset", "--boot-timeout", 180, "--test-timeout", 180)
    return subprocess.run(words, stdin=subprocess.DEVNULL, timeout=400).returncode == 0


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--load-mib", type=int, default=64, metavar="N", help="verified load of each combination (64)")
    parser.add_argument("--full", action="store_true", help="and a verified load of 2 GiB")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="what chance decides in storhost (1)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only scenarios whose names have that in them")
    parser.add_argument("--reasons", action="store_true", help="which scenarios do not apply, and why; nothing is run")
    arguments = parser.parse_args()
    if not 1 <= arguments.load_mib <= 65536:
        parser.error("--load-mib is a number from 1 to 65536")
    return arguments


def main():
    arguments = parse_arguments()
    scenarios, reasons = applicable(sorted(path for path in SCENARIOS.glob("*.scn") if arguments.only in path.name))
    if arguments.reasons:
        for name, reason in reasons.items():
            print(f"{name}: {reason}")
        return 0
    image = guest.build()
    architectures = list(ARCHITECTURES)
    outcomes = run_load(image, FULL_MIB, arguments.seed) if arguments.full else []
    outcomes += run_own(image, arguments.load_mib, architectures, INTERRUPTS, arguments.seed, 1800)
    for architecture in architectures:
        outcomes += run_scenarios(image, f"scenarios-{architecture}", scenarios, [architecture], INTERRUPTS,
                                  arguments.seed, 1800)
    verdicts = {verdict: sum(one.verdict == verdict for one in outcomes) for verdict in ("PASS", "FAIL", "SKIP")}
    print(f"{verdicts['PASS']} passed, {verdicts['FAIL']} failed, {verdicts['SKIP']} skipped; "
          f"{len(reasons)} scenarios do not apply (--reasons)")
    sys.stdout.flush()
    passed = [run_harness(image, architecture) for architecture in reversed(architectures)]
    return 1 if verdicts["FAIL"] or not all(passed) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except guest.Failed as error:
        print(f"run_qemu.py: {error}", file=sys.stderr)
        sys.exit(1)
