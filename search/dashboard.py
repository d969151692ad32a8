"""Serves the studies of a storage in a browser, with optuna-dashboard."""

import errno
import socket
import threading
from collections.abc import Container
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from optuna.storages import _CachedStorage
from optuna.trial import FrozenTrial, TrialState

from results.artifacts import ArtifactStore
from results.database import Database
from results.errors import NasSearchError
from results.ledger import Ledger, database_of
from results.whereabouts import FOLDER_KEY
from search.narrow import in_one_column
from search.readable import make_readable

if TYPE_CHECKING:
    import optuna

LOCAL_HOSTS = ("127.0.0.1", "::1", "localhost")


class _Readers(_CachedStorage):
    """All studies of a database, the trials of each read once and then as they come.

    Optuna's own storage reads all trials of a study anew whenever the page asks.
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._database = database
        self._ledgers: dict[int, tuple[object, Ledger]] = {}
        self._making = threading.Lock()

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        # SQLite gives the number of a deleted study to the next one.
        name = self.get_study_name_from_id(study_id)
        study = name, self.get_study_user_attrs(study_id).get(FOLDER_KEY)
        with self._making:
            known, ledger = self._ledgers.get(study_id, (None, None))
            if ledger is None or known != study:
                ledger = Ledger(self._database, name)
                self._ledgers[study_id] = study, ledger
        return ledger.get_all_trials(study_id, deepcopy, states)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self._backend.get_trial(trial_id)  # for the same reason


class _Quiet(WSGIRequestHandler):
    """Does not write a line for each request."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


class Server(ThreadingMixIn, WSGIServer):
    """Listens from its first moment on; `serve_forever` answers until KeyboardInterrupt."""

    daemon_threads = True

    def __init__(
        self, study: "optuna.Study", artifacts: ArtifactStore, host: str, port: int
    ) -> None:
        """Raises NasSearchError if it can't listen there. Port 0: any that is free."""
        from optuna_dashboard import wsgi

        self._study_id = study._study_id
        self._host = host
        try:
            self.address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            super().__init__((host, port), _Quiet)
        except OSError as error:
            raise NasSearchError(_why_not(error, host, port)) from None
        make_readable()
        served = wsgi(_Readers(database_of(study)), artifact_store=artifacts)
        self.set_app(in_one_column(served))

    def server_bind(self) -> None:
        """Without the look-up of the host's full name, which waits for a network."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self._host, self.server_address[1]
        self.setup_environ()

    @property
    def url(self) -> str:
        """Where the study is to be seen."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{self.server_port}/dashboard/studies/{self._study_id}"


def _why_not(error: OSError, host: str, port: int) -> str:
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"--host {host} is no address of this machine: use 127.0.0.1, or leave it out"
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is in use: name another with --port, or 0 for any that is free"
    if error.errno == errno.EACCES:
        return f"port {port} may not be used: name one above 1023 with --port"
    return f"can't listen on {host}, port {port}: {error.strerror or error}"
