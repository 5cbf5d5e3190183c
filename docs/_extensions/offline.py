"""Examples run as on a machine without a network, so that a build is the same everywhere and never waits."""

import socket

_LOCAL = {None, "", "localhost", "127.0.0.1", "::1", socket.gethostname()}
_getaddrinfo = socket.getaddrinfo


def stay_offline(gallery_conf: dict, path: str) -> None:
    """Let no host be found but this one; sphinx-gallery calls it around every example."""
    socket.getaddrinfo = _local_only


def _local_only(host, *args, **kwargs):
    if host not in _LOCAL:
        raise OSError(f"no network while the documentation is built: {host}")
    return _getaddrinfo(host, *args, **kwargs)
