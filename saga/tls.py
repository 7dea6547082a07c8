"""URLs of broker and database with the CA bundle for their certificates."""

import ssl
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit


def check_ca_file(file: Path) -> Path:
    """Return the file if it holds CA certificates.

    Raises:
        ValueError: it does not, or cannot be read.
    """
    try:
        ssl.create_default_context(cafile=file)
    except OSError as error:
        raise ValueError(f"is no readable file of certificates in PEM form ({error})") from None
    return file


def broker_url(url: str, ca_file: Path | None) -> str:
    """Return the broker's URL with this CA bundle instead of the system's.

    Raises:
        ValueError: the URL is not encrypted, so that the file would have no effect.
    """
    if ca_file is None:
        return url
    if urlsplit(url).scheme != "amqps":
        raise ValueError("is set, but the broker's URL does not begin with amqps://")
    return _with(url, cafile=str(ca_file))


def database_url(url: str, ca_file: Path | None) -> str:
    """Return the database's URL with this CA bundle instead of the system's.

    Raises:
        ValueError: the URL does not ask for encryption.
    """
    if ca_file is None:
        return url
    options = {name.lower(): values[-1] for name, values in parse_qs(urlsplit(url).query).items()}
    if options.get("tls", options.get("ssl")) != "true" and not url.startswith("mongodb+srv://"):
        raise ValueError("is set, but the database's URL does not say tls=true")
    return _with(url, tlsCAFile=str(ca_file))


def _with(url: str, **options: str) -> str:
    parts = urlsplit(url)
    query = "&".join(filter(None, [parts.query, urlencode(options)]))
    return parts._replace(query=query).geturl()
