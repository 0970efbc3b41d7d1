# `knowfree serve` in a container. In the root of the checkout:
#   docker build -f examples/docker/serve.Dockerfile -t knowfree-serve .
#   docker run --rm -p 8000:8000 -v "$PWD/runs/mine:/model:ro" knowfree-serve
# A Hub id in place of the folder: docker run … knowfree-serve me/my-model --host 0.0.0.0 (private: -e HF_TOKEN).
# Without a GPU the wheels of torch for CPUs are a tenth of the size: --build-arg TORCH_INDEX=<their index, pytorch.org>.
FROM python:3.11-slim
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
WORKDIR /app
ARG TORCH_INDEX=""
COPY constraints.txt .
RUN pip install --constraint constraints.txt ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} torch
COPY setup.py pyproject.toml README.md knowfree.py push_to_hub.py ./
COPY modeling_knowfree modeling_knowfree
COPY augmentation augmentation
COPY experiments experiments
COPY hub_cards hub_cards
COPY spaces spaces
COPY examples/demo examples/demo
RUN pip install --constraint constraints.txt ".[serve]"
RUN useradd --create-home --uid 1000 tagger
USER tagger
EXPOSE 8000
HEALTHCHECK --start-period=120s CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/health', timeout=5)"]
ENTRYPOINT ["knowfree", "serve"]
CMD ["/model", "--host", "0.0.0.0"]
