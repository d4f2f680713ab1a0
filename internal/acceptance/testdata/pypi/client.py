"""A requester made with the unmodified horde_sdk and its simple client: text, images as files
and by address, and alchemy, ROUNDS times. The last line counts the finished jobs.
"""

import base64
import io
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import PIL.Image
from horde_sdk.ai_horde_api.ai_horde_clients import AIHordeAPISimpleClient
from horde_sdk.ai_horde_api.apimodels import (
    AlchemyAsyncRequest,
    AlchemyAsyncRequestFormItem,
    ImageGenerateAsyncRequest,
    ImageGenerationInputPayload,
    ModelGenerationInputKobold,
    TextGenerateAsyncRequest,
)
from loguru import logger

logger.remove()
logger.add(sys.stderr, level="ERROR")

KEY = os.environ["CLIENT_KEY"]
IMAGE_MODEL = os.environ["IMAGE_MODELS"].split(",")[0]
TEXT_MODEL = os.environ["TEXT_MODELS"].split(",")[0]
PATIENCE = int(os.environ.get("PATIENCE", "120"))


def text(number):
    status, _ = AIHordeAPISimpleClient().text_generate_request(
        TextGenerateAsyncRequest(apikey=KEY, prompt=f"Once upon a time, number {number}", models=[TEXT_MODEL],
                                 params=ModelGenerationInputKobold(n=1, max_length=80, max_context_length=1024)),
        timeout=PATIENCE,
    )
    assert all(g.text and g.model == TEXT_MODEL for g in status.generations), status
    return len(status.generations)


def image(r2):
    client = AIHordeAPISimpleClient()
    status, _ = client.image_generate_request(
        ImageGenerateAsyncRequest(apikey=KEY, prompt="a horde of robots", models=[IMAGE_MODEL], r2=r2,
                                  params=ImageGenerationInputPayload(width=512, height=512, steps=10, n=2, seed="42")),
        timeout=PATIENCE,
    )
    for g in status.generations:
        picture = client.download_image_from_generation(g)
        assert picture.size == (512, 512), picture.size
    return len(status.generations)


def alchemy():
    source = io.BytesIO()
    PIL.Image.new("RGB", (64, 64), (10, 20, 30)).save(source, "PNG")
    client = AIHordeAPISimpleClient()
    status, _ = client.alchemy_request(
        AlchemyAsyncRequest(apikey=KEY, source_image=base64.b64encode(source.getvalue()).decode(),
                            forms=[AlchemyAsyncRequestFormItem(name=n) for n in ("caption", "nsfw", "RealESRGAN_x2plus")]),
        timeout=PATIENCE,
    )
    assert [c.caption for c in status.all_caption_results] == ["a picture that nobody looked at"], status
    assert len(status.all_upscale_results) == 1, status
    for u in status.all_upscale_results:
        client.download_image_from_url(u.url)
    return len([f for f in status.forms if f.state == "done"])


with ThreadPoolExecutor(4) as pool:
    tasks = {"text": [], "image": [], "alchemy": []}
    for n in range(int(os.environ.get("ROUNDS", "1"))):
        # The simple client waits for exactly one text of a request.
        tasks["text"] += [pool.submit(text, 2 * n + i) for i in range(2)]
        tasks["image"] += [pool.submit(image, r2) for r2 in (False, True)]
        tasks["alchemy"].append(pool.submit(alchemy))
    finished = {kind: sum(t.result() for t in ts) for kind, ts in tasks.items()}
print(json.dumps(finished), flush=True)
