# One image for every service and for the `saga` command; the container's command says which one runs.
ARG PYTHON_IMAGE=python:3.13-slim

# The dependencies have their own layer: they are installed again only when they change.
FROM ${PYTHON_IMAGE} AS requirements
COPY pyproject.toml ./
RUN python3 -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" >requirements.txt

FROM ${PYTHON_IMAGE} AS build
WORKDIR /source
RUN python3 -m venv --without-pip /venv
COPY --from=requirements /requirements.txt ./
COPY constraints.txt ./
RUN python3 -m pip --python /venv/bin/python install --no-cache-dir -c constraints.txt -r requirements.txt
COPY . .
RUN python3 -m pip --python /venv/bin/python install --no-cache-dir --no-deps .

FROM ${PYTHON_IMAGE}
RUN useradd --system --uid 10001 --no-create-home saga \
    && install --directory --owner saga /definitions
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 \
    ORDER_HOST=0.0.0.0 ORDER_PORT=8000 \
    INVENTORY_HOST=0.0.0.0 INVENTORY_PORT=8000 \
    PAYMENT_HOST=0.0.0.0 PAYMENT_PORT=8000
USER saga
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=6 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
CMD ["saga", "--help"]
