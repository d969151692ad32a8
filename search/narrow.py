"""Lets the dashboard's pages fit a telephone: they are made for two columns at any width."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

WIDTH_PIXELS = 700
"""Narrower pages have one column."""

_STYLE = f"""<style>
@media (max-width: {WIDTH_PIXELS}px) {{
  main {{ min-width: 0; }}
  main [class*="MuiGrid-grid-xs-"] {{ flex-basis: 100%; max-width: 100%; width: 100%; }}
}}
</style></head>""".encode()


def in_one_column(application: "WSGIApplication") -> "WSGIApplication":
    """The application with a rule of style more in each of its pages."""

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if not environ["PATH_INFO"].startswith("/dashboard"):
            return application(environ, start_response)
        begun: list[tuple[str, list[tuple[str, str]]]] = []

        def begin(status: str, headers: list[tuple[str, str]], *_: Any) -> Any:
            begun.append((status, headers))

        page = b"".join(application(environ, begin)).replace(b"</head>", _STYLE)
        ((status, headers),) = begun
        kept = [each for each in headers if each[0].lower() != "content-length"]
        start_response(status, [*kept, ("Content-Length", str(len(page)))])
        return [page]

    return answer
