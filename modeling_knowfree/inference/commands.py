"""Commands that use a trained model elsewhere: `knowfree export`, `knowfree serve`."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

import click


@click.command()
@click.argument("model")
@click.argument("output", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--to", type=click.Choice(["onnx"]), default="onnx", show_default=True, help="What to export to.")
@click.option("--int8", is_flag=True, help="Most matrices in 8 bits, embeddings as they are: smaller, faster on CPUs.")
def export(model: str, output: Path, to: str, int8: bool) -> None:
    """Export a model for machines without PyTorch.

    OUT gets model.onnx, the tokenizer, tagger.json and onnx_tagger.py, one file that needs onnxruntime, tokenizers and
    numpy alone:

    \b
      knowfree export runs/mine exported --to onnx --int8
      echo 我们一起在嘉鱼 | python exported/onnx_tagger.py
    """
    from ..console import be_quiet
    from .export import export_onnx

    be_quiet()
    folder = export_onnx(model, output, int8=int8)
    size = sum(path.stat().st_size for path in folder.iterdir()) / 2**20
    click.echo(f"{folder}: {'8-bit ' if int8 else ''}ONNX, {size:.0f} MB; OnnxTagger in {folder / 'onnx_tagger.py'}")


@click.command()
@click.argument("model")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True)
@click.option("--batch_size", type=click.IntRange(1), default=32, show_default=True, help="Windows run together.")
@click.option("--queue_size", type=click.IntRange(1), default=128, show_default=True, help="Requests that may wait.")
def serve(model: str, host: str, port: int, batch_size: int, queue_size: int) -> None:
    """Serve a model over HTTP; concurrent requests are tagged together.

    \b
      knowfree serve runs/mine --port 8000
      curl -s localhost:8000/tag -H 'content-type: application/json' -d '{"texts": ["我们一起在嘉鱼"]}'

    /docs shows the API (a page that a CDN helps to draw; /openapi.json stands alone), /health and /metrics what a
    cluster asks for. Ctrl-C finishes what is under way, a second one leaves it.
    """
    import uvicorn

    from ..console import be_quiet
    from .server import Server, make_app

    be_quiet()
    with _listening(host, port) as listener:
        app = make_app(model, batch_size, queue_size)
        name = f"[{host}]" if ":" in host else host
        click.echo(f"listening on http://{name}:{listener.getsockname()[1]}", err=True)
        server = Server(uvicorn.Config(app, log_level="warning", timeout_keep_alive=5))
        with suppress(KeyboardInterrupt):  # Ctrl-C is how it ends
            server.run(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
    """A socket that is bound. Raises InputError where the address is taken or is none of this machine."""
    from ..data.rows import InputError

    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        mend = "name another --port, or --host"
        told = os.strerror(error.errno) if error.errno else error
        raise InputError(f"--host {host} --port {port}: {told}; {mend}") from error
