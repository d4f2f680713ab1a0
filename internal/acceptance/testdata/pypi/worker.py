"""A worker of all three kinds made with the unmodified horde_sdk: it pops at AI_HORDE_URL,
uploads images by a bare PUT, submits, and counts what the horde accepted, until it is told to
end (SIGTERM); the counts are then its last line.
"""

import io
import json
import os
import signal
import sys
import threading
import time

import PIL.Image
import requests
from horde_sdk.ai_horde_api.ai_horde_clients import AIHordeAPIManualClient
from horde_sdk.ai_horde_api.apimodels import (
    AlchemyJobPopResponse,
    AlchemyJobSubmitRequest,
    AlchemyPopRequest,
    ImageGenerateJobPopRequest,
    ImageGenerationJobSubmitRequest,
    TextGenerateJobPopRequest,
    TextGenerationJobSubmitRequest,
)
from horde_sdk.ai_horde_api.consts import GENERATION_STATE
from horde_sdk.generic_api.apimodels import RequestErrorResponse
from loguru import logger

logger.remove()
logger.add(sys.stderr, level="ERROR")

KEY = os.environ["WORKER_KEY"]
NAME = os.environ.get("WORKER_NAME", "sdk")
IMAGE_MODELS = os.environ["IMAGE_MODELS"].split(",")
TEXT_MODELS = os.environ["TEXT_MODELS"].split(",")
REGEN = "AI Horde Worker reGen:13.0.0:https://github.com/Haidra-Org/horde-worker-reGen"
FORMS = ["caption", "nsfw", "interrogation", "strip_background", "RealESRGAN_x2plus", "RealESRGAN_x4plus", "GFPGAN", "CodeFormers"]
ANSWERS = {
    "caption": {"caption": "a picture that nobody looked at"},
    "nsfw": {"nsfw": False},
    "interrogation": {"interrogation": {"tags": [{"text": "picture", "confidence": 0.9}]}},
}

done = threading.Event()
counts = {"image": 0, "text": 0, "alchemy": 0, "uploads": 0, "refused": 0, "reward": 0.0}
lock = threading.Lock()


def count(**more):
    with lock:
        for k, v in more.items():
            counts[k] += v


def picture(width, height):
    """A picture of one colour as the bytes of a WebP file."""
    out = io.BytesIO()
    PIL.Image.new("RGB", (width, height), (70, 110, 90)).save(out, "WEBP")
    return out.getvalue()


def upload(url, data):
    """PUT as the workers do it: the address as it is, no Content-Type."""
    answer = requests.put(url, data=data, timeout=10)
    if answer.status_code != 200:
        raise RuntimeError(f"upload: {answer.status_code}")
    count(uploads=1)


def submit(client, kind, request):
    answer = client.submit_request(request, request.get_default_success_response_type())
    if isinstance(answer, RequestErrorResponse):
        logger.error(f"submit of {kind}: {answer.message} {answer.object_data}")
        count(refused=1)
    else:
        count(**{kind: 1, "reward": answer.reward})


def image(client):
    job = pop(client, ImageGenerateJobPopRequest(
        apikey=KEY, name=f"{NAME} dreamer", bridge_agent=REGEN, models=IMAGE_MODELS, nsfw=True, max_pixels=4194304,
        threads=4, allow_lora=True, allow_controlnet=True, allow_painting=True, allow_post_processing=True, amount=4,
        extra_slow_worker=False,
    ))
    if job is None or not job.ids_present:
        return False
    for i, id_ in enumerate(job.ids):
        upload(job.r2_uploads[i], picture(job.payload.width, job.payload.height))
        submit(client, "image", ImageGenerationJobSubmitRequest(
            apikey=KEY, id=id_, state=GENERATION_STATE.ok, generation="R2", seed=str(job.payload.seed)))
    return True


def text(client):
    job = pop(client, TextGenerateJobPopRequest(
        apikey=KEY, name=f"{NAME} scribe", bridge_agent="KoboldCppEmbedWorker:2:https://github.com/LostRuins/koboldcpp",
        models=TEXT_MODELS, nsfw=True, threads=4, max_length=512, max_context_length=8192, amount=4,
        extra_slow_worker=False,
    ))
    if job is None or not job.ids_present:
        return False
    for id_ in job.ids:
        submit(client, "text", TextGenerationJobSubmitRequest(
            apikey=KEY, id=id_, state=GENERATION_STATE.ok, generation="and they lived in a horde ever after"))
    return True


def alchemy(client):
    job = pop(client, AlchemyPopRequest(
        apikey=KEY, name=f"{NAME} alchemist", bridge_agent=REGEN, forms=FORMS, amount=4, threads=4, max_tiles=64,
        priority_usernames=[],
    ))
    if job is None or not isinstance(job, AlchemyJobPopResponse) or not job.forms:
        return False
    for form in job.forms:
        name = str(form.form.value if hasattr(form.form, "value") else form.form)
        result = ANSWERS.get(name)
        if result is None:
            upload(form.r2_upload, picture(128, 128))
            result = {name: "R2"}
        submit(client, "alchemy", AlchemyJobSubmitRequest(
            apikey=KEY, id=form.id_, result=result, state=GENERATION_STATE.ok))
    return True


def pop(client, request):
    answer = client.submit_request(request, request.get_default_success_response_type())
    if isinstance(answer, RequestErrorResponse):
        logger.error(f"pop: {answer.message} {answer.object_data}")
        count(refused=1)
        return None
    return answer


def serve(work):
    client = AIHordeAPIManualClient()
    while not done.is_set():
        try:
            found = work(client)
        except (requests.RequestException, RuntimeError, ValueError) as e:
            logger.error(f"{work.__name__}: {e}")
            count(refused=1)
            found = False
        if not found:
            done.wait(0.7)


signal.signal(signal.SIGTERM, lambda *_: done.set())
threads = [threading.Thread(target=serve, args=(w,)) for w in (image, text, alchemy)]
for t in threads:
    t.start()
while not done.is_set():
    time.sleep(0.1)
for t in threads:
    t.join()
print(json.dumps(counts), flush=True)
