"""URLs of broker and database with the authority that vouches for their certificates."""

import ssl
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit


def check_authorities(file: Path) -> Path:
    """Return the file if it holds certificates of authorities.

    Raises:
        ValueError: it does not, or is not there.
    """
    try:
        ssl.create_default_context(cafile=file)
    except OSError as error:
        raise ValueError(f"is no readable file of certificates in PEM form ({error})") from None
    return file


def broker_url(url: str, authorities: Path | None) -> str:
    """Return the broker's URL with this file of authorities, in the place of the system's.

    Raises:
        ValueError: the URL is not encrypted, so that the file would protect nothing.
    """
    if authorities is None:
        return url
    if urlsplit(url).scheme != "amqps":
        raise ValueError("is set, but the broker's URL does not begin with amqps://")
    return _with(url, cafile=str(authorities))


def database_url(url: str, authorities: Path | None) -> str:
    """Return the database's URL with this file of authorities, in the place of the system's.

    Raises:
        ValueError: the URL says that it is not encrypted, or does not say that it is.
    """
    if authorities is None:
        return url
    options = {name.lower(): values[-1] for name, values in parse_qs(urlsplit(url).query).items()}
    if options.get("tls", options.get("ssl")) != "true" and not url.startswith("mongodb+srv://"):
        raise ValueError("is set, but the database's URL does not say tls=true")
    return _with(url, tlsCAFile=str(authorities))


def _with(url: str, **options: str) -> str:
    parts = urlsplit(url)
    query = "&".join(filter(None, [parts.query, urlencode(options)]))
    return parts._replace(query=query).geturl()
