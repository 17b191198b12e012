"""Reports of Amazon SES come by SNS: signed by Amazon, of one topic, once that is confirmed.

Nobody but Amazon's host of the topic's own region is ever asked for anything.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode, urlsplit

import httpx2
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm

from events import payload

_SECONDS: Final = 5.0  # that Amazon may take to answer
_MAX_BYTES: Final = 64 * 1024  # of a certificate
_ARN: Final = re.compile(r"arn:aws(?:-cn|-us-gov)?:sns:([a-z]{2}(?:-[a-z]+)+-\d):\d{12}:[\w.-]+")
_CERTIFICATE: Final = re.compile(r"/SimpleNotificationService-[0-9A-Za-z]{1,64}\.pem")
# What is signed: these members, each by name and value, where the message has them.
_OF_NOTIFICATION: Final = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_OF_SUBSCRIPTION: Final = (
    *("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
)
_HASHES: Final[Mapping[str, type[HashAlgorithm]]] = {"1": SHA1, "2": SHA256}

_keys: dict[str, rsa.RSAPublicKey] = {}  # of certificates, by address; of this process
_MAX_KEYS: Final = 20


class ForgedError(Exception):
    """A message that Amazon did not sign, or not for this topic. The message is for people."""


class UnreachableError(Exception):
    """Amazon did not answer; the sender should come again."""


class _Topic(NamedTuple):
    arn: str
    host: str


def verify(arn: str, body: bytes) -> None:
    """Make certain that Amazon sent this message, for this topic.

    Raises `ForgedError`, `UnreachableError`.
    """
    of = _topic(arn)
    message = _read(body)
    if message.get("TopicArn") != of.arn:
        raise ForgedError("The message is of another topic than the source says.")
    algorithm = _HASHES.get(str(message.get("SignatureVersion")))
    try:
        signature = base64.b64decode(str(message.get("Signature", "")), validate=True)
    except binascii.Error as error:
        raise ForgedError("The message is not signed.") from error
    if algorithm is None or not signature:
        raise ForgedError("The message is not signed.")
    key = _key(of, str(message.get("SigningCertURL", "")))
    try:
        key.verify(signature, _signed(message), padding.PKCS1v15(), algorithm())
    except InvalidSignature as error:
        raise ForgedError("The signature is not by Amazon.") from error


def confirm(arn: str, body: bytes) -> bool:
    """Tell Amazon that we want the reports, if that is what a message asks; it must be verified.

    By an address made of its token, not by the one it names. Raises `UnreachableError`.
    """
    of, message = _topic(arn), _read(body)
    if message.get("Type") != "SubscriptionConfirmation":
        return False
    asked = {"Action": "ConfirmSubscription", "TopicArn": of.arn, "Token": message.get("Token")}
    _get(f"https://{of.host}/?{urlencode(asked)}")
    return True


def _topic(arn: str) -> _Topic:
    """Read the name of a topic. Raises `ForgedError` if it is none."""
    found = _ARN.fullmatch(arn.strip())
    if not found:
        raise ForgedError("The signing key of the source is not the ARN of an SNS topic.")
    ending = ".cn" if arn.startswith("arn:aws-cn:") else ""
    return _Topic(arn.strip(), f"sns.{found[1]}.amazonaws.com{ending}")


def _read(body: bytes) -> dict[str, Any]:
    try:
        value = payload.read(body).value
    except payload.MalformedError as error:
        raise ForgedError(str(error)) from error
    if not isinstance(value, dict):
        raise ForgedError("A message of SNS is an object.")
    return value


def _signed(message: Mapping[str, Any]) -> bytes:
    is_notification = message.get("Type") == "Notification"
    names = _OF_NOTIFICATION if is_notification else _OF_SUBSCRIPTION
    lines = (f"{name}\n{message[name]}\n" for name in names if name in message)
    return "".join(lines).encode("utf-8", "replace")


def _key(of: _Topic, address: str) -> rsa.RSAPublicKey:
    parts = urlsplit(address)
    is_amazons = parts.scheme == "https" and parts.netloc == of.host and not parts.query
    if not (is_amazons and _CERTIFICATE.fullmatch(parts.path)):
        raise ForgedError(f"The certificate is not one of {of.host}.")
    if address not in _keys:
        pem = _get(address)
        try:
            key = x509.load_pem_x509_certificate(pem).public_key()
        except ValueError as error:
            raise ForgedError("The certificate cannot be read.") from error
        if not isinstance(key, rsa.RSAPublicKey):
            raise ForgedError("The certificate is of a kind that Amazon does not use.")
        if len(_keys) >= _MAX_KEYS:
            _keys.clear()
        _keys[address] = key
    return _keys[address]


def _get(address: str) -> bytes:
    """Fetch from Amazon's own host; TLS shows that it is theirs, wherever the name leads."""
    try:
        with (
            httpx2.Client(timeout=_SECONDS, trust_env=False, follow_redirects=False) as client,
            client.stream("GET", address) as answer,
        ):
            answer.raise_for_status()
            content = b""
            for chunk in answer.iter_bytes():
                content += chunk
                if len(content) > _MAX_BYTES:
                    break
            return content
    except httpx2.HTTPError as error:
        raise UnreachableError("Amazon could not be asked; send it again.") from error
