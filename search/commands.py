"""The commands that show, measure and take along what a study found."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from results.errors import NasSearchError
from search.drilldown import drilldown
from search.front import front
from search.options import (
    RUNS,
    artifacts_option,
    holds_studies,
    open_study,
    refuse_several,
    report_folder,
    study_options,
    trial_options,
)
from search.replay import replay

_test_images_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Folder with MNIST, as for the search: the files are measured on its test images.",
)


@click.command()
@study_options
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
def best(study: str | None, storage: str | None, out: Path, as_json: bool) -> None:
    """Show the most accurate network of a study, and the smallest that holds the target."""
    import json

    from results.present import summary_table
    from results.record import confirmations, records
    from results.selection import refuse_given, summary
    from results.storage import settings_of

    opened = open_study(study, storage, out, of_search=True)
    refuse_given(settings_of(opened))
    found = summary(opened.study_name, settings_of(opened), records(opened), confirmations(opened))
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        summary_table(found)


@click.command()
@study_options
@click.option(
    "--format",
    "style",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
    help="table: the main columns, for reading. csv, json: everything.",
)
def trials(study: str | None, storage: str | None, out: Path, style: str) -> None:
    """List the trials of a study: one row a trial, a column a parameter and attribute."""
    from results.present import trials_table
    from results.record import records
    from results.storage import settings_of
    from results.table import trials_frame, trials_json

    opened = open_study(study, storage, out)
    found = records(opened)
    if style == "csv":
        click.echo(trials_frame(found).to_csv(index=False), nl=False)
    elif style == "json":
        click.echo(trials_json(found))
    else:
        trials_table(opened.study_name, settings_of(opened).measured_on, trials_frame(found))


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@study_options
@artifacts_option
@trial_options
@_test_images_option
@click.option(
    "--seeds",
    is_flag=True,
    help="Also the weights of all confirmation seeds, for nas-search verify.",
)
@click.option("--fold", is_flag=True, help="Also with BatchNorm folded into the convolutions.")
@click.option("--int8", is_flag=True, help="Also quantised to 8 bits, as ONNX.")
@click.option(
    "--c-header", is_flag=True, help="Also quantised to 8 bits, as C99 source for microcontrollers."
)
def export(
    folder: Path,
    study: str | None,
    storage: str | None,
    out: Path,
    artifacts: str | None,
    trial: int | None,
    choice: str | None,
    data_dir: Path | None,
    seeds: bool,
    fold: bool,
    int8: bool,
    c_header: bool,
) -> None:
    """Write a trial to DIR as model files with a card, checked by loading them again."""
    refuse_several(trial, choice)
    opened = open_study(study, storage, out, of_search=True)

    from results.present import forms_table
    from results.storage import settings_of
    from results.whereabouts import store_of
    from search.data import find
    from search.export import Further
    from search.export import export as export_trial
    from search.progress import say

    store = store_of(opened, out, artifacts)
    data = find(settings_of(opened).dataset, data_dir, say)
    chosen: Any = trial if trial is not None else choice or "best"
    further = Further(seeds=seeds, fold=fold, int8=int8, c_header=c_header)
    done = export_trial(opened, chosen, store, folder, data, say, further)
    click.echo(
        f"trial {done.trial}, {done.params:,} parameters, {done.test_accuracy:.2f}% of the test "
        f"images; written to {done.folder}, loaded again and measured:"
    )
    forms_table(done.forms)
    for remark in done.remarks:
        click.echo(remark)
    if "model.onnx" not in done.forms:
        say(
            "no model.onnx: it needs pip install '.[onnx]' in the folder of nas-search; then "
            "export to another DIR"
        )


@click.command()
@study_options
@artifacts_option
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to serve on. Another than this machine's own serves it to others, who need no "
    "password, also to delete studies.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8080,
    show_default=True,
    help="Port to serve on; 0: any that is free.",
)
def dashboard(
    study: str | None,
    storage: str | None,
    out: Path,
    artifacts: str | None,
    host: str,
    port: int,
) -> None:
    """Browse a study and its trials, also while a search goes on. Ctrl-C ends it."""
    opened = open_study(study, storage, out)

    from results.artifacts import ArtifactStore
    from results.store import Folder
    from results.whereabouts import store_of, stores
    from search.dashboard import LOCAL_HOSTS, Server
    from search.progress import say
    from search.publisher import Publisher

    try:
        store = store_of(opened, out, artifacts)
    except NasSearchError as error:
        if artifacts:
            raise
        say(f"without pictures and weights: {error}")
        store = Folder(out)
    kept = ArtifactStore(lambda: stores(opened, store, out))
    with Server(opened, kept, host, port) as server, suppress(KeyboardInterrupt):
        # A study that is running, or was made before there were plots, may not have any yet.
        Publisher(opened, say).publish()
        if host not in LOCAL_HOSTS:
            say(
                f"warning: served on {host} to whoever can reach this machine, without a password; "
                f"they can also delete studies"
            )
        click.echo(f"{opened.study_name}: {server.url} (Ctrl-C ends)")
        server.serve_forever()


@click.command()
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@study_options
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Folder with MNIST, as for the search: for pictures of the test digits that were taken "
    "for others. Nothing is downloaded; without the images the report leaves them out.",
)
def report(
    folder: Path | None, study: str | None, storage: str | None, out: Path, data_dir: Path | None
) -> None:
    """Write what a study found as one HTML page, and as Markdown, to DIR.

    DIR is reports/STUDY in --out if it is not given; an older report there is replaced. A folder
    that no search wrote to can also be named as --out DIR. Also works while the search is going on.
    """
    import datetime

    from results.alike import published_like
    from results.record import confirmations, records
    from results.report.digits import TestDigits
    from results.report.of_study import report_of
    from results.report.write import write_report
    from results.storage import settings_of
    from search.data import find_at_hand
    from search.progress import say

    if folder is None and out != RUNS and not holds_studies(out):
        folder, out = out, RUNS
    opened = open_study(study, storage, out)
    folder = folder or report_folder(out, opened.study_name)
    settings, runs = settings_of(opened), confirmations(opened)
    shows_digits = settings.about == "search" and runs
    source = find_at_hand(settings.dataset, data_dir) if shows_digits else None
    digits = source.load().test if source else None
    test = TestDigits(digits.images.numpy(), digits.labels.numpy()) if digits else None
    now = datetime.datetime.now(datetime.UTC)
    published, unread = published_like(opened, settings) if settings.about == "front" else ([], [])
    for line in unread:
        say(line)
    made = report_of(opened.study_name, settings, records(opened), runs, test, now, published)
    written = write_report(made, folder)
    click.echo(made.headline)
    for path in written:
        click.echo(f"  {path}")


@click.command()
@click.argument("model", metavar="FILE_OR_DIR", type=click.Path(path_type=Path))
@click.argument(
    "images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option("--json", "as_json", is_flag=True, help="As one JSON list, every probability.")
@click.option(
    "--trust",
    is_flag=True,
    help="Also open .pt2 and .h files: they are programs, and opening them runs them.",
)
def predict(model: Path, images: tuple[Path, ...], as_json: bool, trust: bool) -> int:
    """Say which digit each IMAGE (PNG or JPEG) shows, with an exported model.

    The probabilities mean nothing for a picture that shows no digit: a model takes each for one.
    """
    import json

    from results.models.loading import open_model
    from results.models.picture import read_picture
    from results.models.prediction import predict as predict_digits
    from results.present import predictions_table

    opened = open_model(model, trusted=trust)
    pictures, errors = {}, {}
    for image in images:
        try:
            pictures[image] = read_picture(image)
        except NasSearchError as error:
            errors[image] = str(error)
    predictions = predict_digits(opened, list(pictures.values())) if pictures else []
    found = dict(zip(pictures, predictions, strict=True))
    if as_json:
        named = [
            {
                "image": str(image),
                **({"error": errors[image]} if image in errors else found[image].described()),
            }
            for image in images
        ]
        click.echo(json.dumps(named, indent=2))
    elif found:
        predictions_table([(str(image), found[image]) for image in images if image in found])
    for said in errors.values():
        click.echo(f"error: {said}", err=True)
    return 1 if errors else 0


@click.command()
@click.argument(
    "folders", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@_test_images_option
@click.option(
    "--trust",
    is_flag=True,
    help="Also run the .pt2 and .h files, which are programs: if you know who made them.",
)
@click.option("--json", "as_json", is_flag=True, help="As a list of JSON objects.")
def verify(folders: tuple[Path, ...], data_dir: Path | None, trust: bool, as_json: bool) -> int:
    """Measure exported models anew and hold them against their cards.

    Each DIR is a folder that nas-search export wrote, or one with such folders in it. Test accuracy
    is recomputed from the model files alone, parameters are counted. Exits with 1 where a card
    or a config.json promises more.
    """
    import json

    from results.present import verified_table
    from search.progress import say
    from search.verify import exported_in
    from search.verify import verify as verify_folder

    outcomes = []
    for each in (found for folder in folders for found in exported_in(folder)):
        say(f"measuring {each} ...")
        outcomes.append(verify_folder(each, data_dir, say, trusted=trust))
    if as_json:
        click.echo(json.dumps([each.described() for each in outcomes], indent=2))
    else:
        verified_table(outcomes)
    broken = [f"{each.folder}: {line}" for each in outcomes for line in each.broken]
    for line in broken:
        click.echo(f"error: {line}", err=True)
    return 1 if broken else 0


COMMANDS = (best, trials, export, predict, verify, report, dashboard, front, replay, drilldown)
