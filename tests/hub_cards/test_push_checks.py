"""What `hub_cards/checks.py` keeps from leaving: secrets and pickles."""

import pytest
from knowfree_hub_cards.checks import check
from knowfree_hub_cards.parcels import pack_metric

from augmentation.redaction import KINDS
from modeling_knowfree.data.rows import InputError


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("a Hugging Face token", "hf_" + "aB3" * 11 + "x"),
        ("an API key (sk-…)", "sk-" + "proj-" + "aB3" * 11),
        ("a GitHub token", "ghp_" + "aB3" * 12),
        ("an AWS key", "AKIA" + "ABCD1234" * 2),
        ("a Google key", "AIza" + "aB3_-" * 7),
        ("a Slack token", "xoxb-" + "123456-" * 3),
        ("a private key", "-----BEGIN " + "RSA PRIVATE KEY-----"),
        ("a password in a URL", "https://" + "user:pass" + "@host/x"),
    ],
)
def test_every_kind_of_secret_is_found(name, secret, tmp_path):
    assert name in KINDS
    parcel = pack_metric("org/span_f1")
    check(parcel, None)
    parcel.files["notes.txt"] = f"first line\nkey = {secret}\n".encode()
    with pytest.raises(InputError, match=r"notes\.txt, line 2") as error:
        check(parcel, None)
    assert name in str(error.value) and secret not in str(error.value)


def test_plain_text_is_no_secret():
    parcel = pack_metric("org/span_f1")
    plain = "hf_hub_download hf_auth sk-learn task-specific AKIA https://host:80/a@b mail@host http://t.cn/a:b@c"
    parcel.files["notes.txt"] = plain.encode()
    check(parcel, "hf_" + "zzz" * 12)


def test_a_pickle_is_refused():
    parcel = pack_metric("org/span_f1")
    parcel.files["model.pkl"] = b""
    with pytest.raises(InputError, match=r"model\.pkl is a pickle"):
        check(parcel, None)
