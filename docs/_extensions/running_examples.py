"""How examples run while the gallery is built; sphinx-gallery calls these functions around every one."""

import socket
import warnings

_LOCAL = {None, "", "localhost", "127.0.0.1", "::1", socket.gethostname()}
_getaddrinfo = socket.getaddrinfo


def stay_offline(gallery_conf: dict, path: str) -> None:
    """Let no host be found but this one: a build is the same everywhere, and never waits for an answer."""
    socket.getaddrinfo = _local_only


def warn_briefly(gallery_conf: dict, path: str) -> None:
    """Show warnings without the path of the file, which is one of this machine."""
    warnings.formatwarning = lambda message, category, *_: f"{category.__name__}: {message}\n"


def _local_only(host, *args, **kwargs):
    if host not in _LOCAL:
        raise OSError(f"no network while the documentation is built: {host}")
    return _getaddrinfo(host, *args, **kwargs)
