"""The plain script and the engine, side by side on one device."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks import ceiling, engine, plain
from benchmarks.accuracy import SIDES, Log, Side, Training
from benchmarks.ceiling import Ceilings
from benchmarks.processes import at_once, processes
from benchmarks.speed import Speed
from search.data import DataSource
from search.plan import Precision
from space import Configuration


@dataclass(frozen=True)
class Protocol:
    """How much is measured.

    Speeds: epochs of `images` training images, timed for `seconds` at a time, in `pairs` of plain
    script and engine. Accuracies: `seeds` trainings of `epochs` epochs of `accuracy_images`
    training images.
    """

    images: int
    seconds: float
    pairs: int
    seeds: int
    epochs: int
    accuracy_images: int


@dataclass(frozen=True)
class Speeds:
    """The speeds of one network: `pairs` of plain script and engine, in turn.

    The script with its better number of loader processes, the engine with the better number of
    trainings at once; `at_once` has images per second by that number, where several were tried.
    """

    pairs: list[tuple[Speed, Speed]]
    loader_processes: int
    trainings: int
    at_once: dict[int, float]

    @property
    def median_pair(self) -> tuple[Speed, Speed]:
        """The pair with the median ratio; of an even number the lower of the middle two."""
        return sorted(self.pairs, key=ratio)[(len(self.pairs) - 1) // 2]


def ratio(pair: tuple[Speed, Speed]) -> float:
    """Training speed of the engine over that of the script."""
    script, engine = pair
    return engine.train / script.train


@dataclass(frozen=True)
class Bench:
    """Measures on one device: the script in a process with all cores, the engine in workers.

    `tell` gets a line for each measurement.
    """

    source: DataSource
    device: str
    precision: Precision
    protocol: Protocol
    script: ProcessPoolExecutor
    workers: ProcessPoolExecutor
    tell: Callable[[str], object]

    @classmethod
    @contextmanager
    def open(
        cls,
        source: DataSource,
        device: str,
        precision: Precision,
        protocol: Protocol,
        workers: int,
        tell: Callable[[str], object],
    ) -> Iterator["Bench"]:
        """With `workers` processes of one thread each; all end with the context."""
        with processes(1, None) as script, processes(workers, 1) as pool:
            yield cls(source, device, precision, protocol, script, pool, tell)

    def ceilings(self) -> Ceilings:
        """What the device can do at most. Measured last: its memory is not to count as theirs."""
        self.tell("ceilings of the device")
        return self.script.submit(ceiling.measure, self.device, self.protocol.seconds).result()

    def speeds(
        self,
        name: str,
        configuration: Configuration,
        counts: Sequence[int],
        loader_counts: Sequence[int],
    ) -> Speeds:
        """Of a network, with the best of so many trainings at once, and of loader processes."""
        loader_processes, _ = _best(
            loader_counts,
            lambda count: self._script_speed(name, configuration, count),
        )
        trainings, at_once = _best(
            counts, lambda count: self._engine_speed(name, configuration, count)
        )
        pairs = [
            (
                self._script_speed(name, configuration, loader_processes),
                self._engine_speed(name, configuration, trainings),
            )
            for _ in range(self.protocol.pairs)
        ]
        return Speeds(pairs, loader_processes, trainings, at_once)

    def accuracies(
        self, configurations: dict[str, Configuration], log: Log
    ) -> dict[tuple[str, Side], list[float]]:
        """Of each network and side, one per seed; those not in the log are trained.

        All by one-thread workers, side by side: the arithmetic of the plain script is the same with
        one thread, and no speed is taken here.
        """
        trainings = {
            (name, side): [self._training(configuration, side, seed) for seed in self._seeds]
            for name, configuration in configurations.items()
            for side in SIDES
        }
        futures = {
            self.workers.submit(training.run): (name, side, training)
            for (name, side), several in trainings.items()
            for training in several
            if training not in log
        }
        for future in as_completed(futures):
            name, side, training = futures[future]
            log.add(training, future.result())
            self.tell(f"{name}, {side}, seed {training.seed}: {log[training]:.2f}%")
        return {key: [log[training] for training in several] for key, several in trainings.items()}

    @property
    def _seeds(self) -> range:
        return range(self.protocol.seeds)

    def _training(self, configuration: Configuration, side: Side, seed: int) -> Training:
        return Training(
            side=side,
            configuration=configuration,
            source=self.source,
            device=self.device,
            precision=self.precision if side == "engine" else "float32",
            images=self.protocol.accuracy_images,
            epochs=self.protocol.epochs,
            seed=seed,
        )

    def _script_speed(self, name: str, configuration: Configuration, loaders: int) -> Speed:
        measured = self.script.submit(
            plain.measure,
            configuration,
            self.source,
            self.device,
            images=self.protocol.images,
            seconds=self.protocol.seconds,
            loader_processes=loaders,
        ).result()
        self.tell(f"{name}, plain, {loaders} loader processes: {measured.train:,.0f} images/s")
        return measured

    def _engine_speed(self, name: str, configuration: Configuration, trainings: int) -> Speed:
        # Threads share a GPU, processes only take turns on it; on the CPU it is processes.
        on_gpu = self.device.startswith("cuda")
        count, threads = (1, trainings) if on_gpu else (trainings, 1)
        measured = Speed.together(
            at_once(
                self.workers,
                engine.measure,
                count,
                configuration,
                self.source,
                self.device,
                self.precision,
                images=self.protocol.images,
                seconds=self.protocol.seconds,
                threads=threads,
                processes=count,
            )
        )
        self.tell(f"{name}, engine, {trainings} at once: {measured.train:,.0f} images/s")
        return measured


def _best(counts: Sequence[int], measure: Callable[[int], Speed]) -> tuple[int, dict[int, float]]:
    """The count that trains fastest, and the images per second of each; a single one needs none."""
    if len(counts) == 1:
        return counts[0], {}
    tried = {count: measure(count).train for count in counts}
    return max(tried, key=tried.__getitem__), tried
