"""POSTs to one endpoint: JSON out, JSON in, within bounds; what goes wrong is told as the runner knows it."""

from __future__ import annotations

import functools
import json
import ssl
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import httpx2

from augmentation.llm.door import ACCEPTED_ENCODING, read_body, read_error_page, read_json, told, word
from augmentation.llm.http_errors import CONNECT_SECONDS, Token, error_for_status, shown_url
from augmentation.llm.protocol import RetryableError, RowError, StopRunError


@functools.cache
def _ssl_context() -> ssl.SSLContext:
    """One for the process: reading the certificates, those that huggingface_hub trusts, takes a tenth of a second."""
    return httpx2.create_ssl_context()


class Wire:
    """Connections to one endpoint, as many as there are requests at a time: the runner bounds those.

    No redirects (they would carry the token elsewhere and be requests that no budget counts), no cookies.
    """

    def __init__(self, endpoint: str, token: Token) -> None:
        """`endpoint` is how error texts speak of the server."""
        self._endpoint = endpoint
        self._token = token
        self._session: aiohttp.ClientSession | None = None
        self._proxies = urllib.request.getproxies()

    async def post(self, url: str, body: Any, headers: Mapping[str, str]) -> Any:
        """What the JSON of the answer to one POST holds.

        Raises:
            RetryableError, RowError, StopRunError: see `http_errors.error_for_status`.
        """
        try:
            data = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
            async with self._open().post(
                url,
                data=data,
                headers={**headers, "Content-Type": "application/json"},
                allow_redirects=False,
                proxy=self._proxy(url) if self._proxies else None,
            ) as response:
                chunks = response.content.iter_any()
                if 200 <= response.status < 300:
                    return read_json(await read_body(chunks, response.headers))
                if 300 <= response.status < 400 and "Location" in response.headers:
                    target = word(shown_url(response.headers["Location"]))
                    raise StopRunError(f"{self._endpoint} redirects to {target}: give that as --base_url")
                page = await read_error_page(chunks, response.headers)
                raise error_for_status(
                    response.status, response.headers, page, endpoint=self._endpoint, token=self._token
                )
        except aiohttp.InvalidURL as error:
            raise StopRunError(f"{self._endpoint}: {word(error)}: check --base_url") from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise RetryableError(f"cannot connect to {self._endpoint}: {told(error)}", unreachable=True) from None
        except (aiohttp.ClientError, ConnectionError) as error:
            raise RetryableError(told(error), paid=True) from None
        except UnicodeEncodeError as error:
            raise RowError(f"the text cannot be sent as UTF-8: {error.reason}") from None

    def _proxy(self, url: str) -> str | None:
        """
        The proxy that the environment names. aiohttp's own `trust_env` would send what ~/.netrc holds, too.

        Raises:
            StopRunError: it names something else; not shown, as it may hold a password.
        """
        parts = urlsplit(url)
        proxy = self._proxies.get(parts.scheme) or self._proxies.get("all")
        if not proxy or urllib.request.proxy_bypass(parts.hostname or ""):
            return None
        proxy = proxy if "://" in proxy else f"http://{proxy}"
        try:
            named = urlsplit(proxy)
            usable = named.scheme in ("http", "https") and bool(named.hostname) and named.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise StopRunError(
                f"{parts.scheme}_proxy (or all_proxy) is no http:// or https:// proxy: mend it, e.g. export "
                f"{parts.scheme}_proxy=http://proxy:3128, or leave the host out: export no_proxy={parts.hostname}"
            )
        return proxy

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers={"Accept-Encoding": ACCEPTED_ENCODING},
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),  # the runner bounds the whole
                connector=aiohttp.TCPConnector(limit=0, ssl=_ssl_context()),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,  # `read_body` does, within bounds
            )
        return self._session

    async def close(self) -> None:
        """Close the connections; the next `post` opens new ones."""
        if self._session is not None:
            await self._session.close()
            self._session = None
