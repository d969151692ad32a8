"""Where the files of a study lie: in the output folder of each machine, or in one store for all."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from results.errors import NasSearchError
from results.store import Folder, Store, open_store

if TYPE_CHECKING:
    import optuna

FOLDER_KEY = "folder"
"""The study attribute that names the folder of its weights, within whatever store."""

ARTIFACTS_KEY = "artifacts"
"""The study attribute with the address of its store, if it was made with `--artifacts`."""

ARTIFACTS_FOLDER = "artifacts"
"""Of a store: what the dashboard shows, of all its studies together."""

KEPT_IN = "kept_in"
"""The trial attribute with the place of the store that its files were written to."""


def settle(study: "optuna.Study", folder: str, named: str | None) -> None:
    """Remembers where the files of a study that is being made go, before it has any.

    `named` is what `--artifacts` says. The store is marked first, so that what is remembered can be
    told from an empty folder of the same name. Raises NasSearchError.
    """
    address = named or study.user_attrs.get(ARTIFACTS_KEY)  # half made, and cut off
    if address is not None:
        try:
            store = open_store(address)
            store.mark(folder)
            store.mark(ARTIFACTS_FOLDER)
        except OSError as error:
            raise NasSearchError(
                f"can't write to --artifacts {address}: {_reason(error)}"
            ) from None
        study.set_user_attr(ARTIFACTS_KEY, store.place)


def store_of(study: "optuna.Study", out: Path, named: str | None) -> Store:
    """The store of a study, for this machine; `named` is what `--artifacts` says.

    A shared folder may be mounted at another path here: any place with the mark of the study is its
    store. Raises NasSearchError if there is none with it.
    """
    name = study.study_name
    kept = study.user_attrs.get(ARTIFACTS_KEY)
    if kept is None:
        if named:
            raise NasSearchError(
                f"study {name} was made without --artifacts and keeps its files in --out of each "
                f"machine: leave out --artifacts (or $NAS_SEARCH_ARTIFACTS), or use another --study"
            )
        return Folder(out)
    try:
        store = open_store(named or kept)
        is_it = store.is_marked(study.user_attrs[FOLDER_KEY])
    except OSError as error:
        raise NasSearchError(
            f"the files of study {name} are in {named or kept}, which can't be reached: "
            f"{_reason(error)}"
        ) from None
    if not is_it and store.place != kept:
        raise NasSearchError(
            f"study {name} keeps its files in {kept}, and they are not in {store.place}: leave out "
            f"--artifacts (or $NAS_SEARCH_ARTIFACTS)"
        )
    if not is_it:
        raise NasSearchError(
            f"the files of study {name} are in {kept}, and this machine does not find them there: "
            f"mount that folder or make the bucket readable here, or name with --artifacts where "
            f"it is mounted; if they are lost, begin another --study"
        )
    return store


def stores(study: "optuna.Study", first: Store, out: Path) -> Iterator[Store]:
    """`first`, then all others that hold files of any study of the same storage, each once."""
    yield first
    places = {first.place}
    local = Folder(out)
    if local.place not in places:
        places.add(local.place)
        yield local
    for each in study._storage.get_all_studies():
        address = each.user_attrs.get(ARTIFACTS_KEY)
        if address is None or address in places:
            continue
        places.add(address)
        with suppress(NasSearchError, OSError):  # others can be reached all the same
            yield open_store(address)


def refuse_if_missing(store: Store, name: str, what: str, kept_in: str) -> None:
    """Raises NasSearchError if a file is not in the store of its study, saying where it is.

    `what`: the file in words. `kept_in`: the place of the store it was written to, "" where that
    was not recorded. Raises OSError.
    """
    file = store.file(name)
    if file.exists():
        return
    if store.is_shared or kept_in == store.place:
        raise NasSearchError(f"{what} are gone: {file} is missing")
    if not kept_in:
        raise NasSearchError(f"{file} is missing: name the folder the search wrote to with --out")
    host, _, folder = kept_in.partition(":")
    here, _, looked_in = store.place.partition(":")
    if host == here:
        raise NasSearchError(f"{what} are not in {looked_in} but in {folder}: name it with --out")
    raise NasSearchError(
        f"{what} are on {host} in {folder}/{name.partition('/')[0]}: run this there, or copy that "
        f"folder into {looked_in} here (a search with --artifacts keeps them where all machines "
        f"reach them)"
    )


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
