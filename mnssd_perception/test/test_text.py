from hypothesis import given
from hypothesis import strategies as st
from mnssd_perception.text import did_you_mean, mask_secrets, sanitize_text
import pytest

PASSWORDS = st.text(st.characters(), min_size=1).filter(
    lambda text: text.isprintable() and not any(char.isspace() for char in text)
) | st.from_regex(r'[0-9]{0,5}[/?#:@][!-~]{1,300}', fullmatch=True)


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('', ''),
        ('bgr8', 'bgr8'),
        ('Fußgänger 行人', 'Fußgänger 行人'),
        ('a\n[FATAL] b', r'a\n[FATAL] b'),
        ('\x1b[2J', r'\x1b[2J'),
        ('right\u202eleft', r'right\u202eleft'),
        (7, '7'),
    ],
)
def test_control_characters_are_escaped(text, expected):
    assert sanitize_text(text) == expected


def test_long_text_is_shortened():
    assert sanitize_text('x' * 1_000_000, 20) == 'x' * 17 + '...'


@given(st.text(), st.integers(3, 50))
def test_result_is_printable_and_bounded(text, max_chars):
    shown = sanitize_text(text, max_chars)
    assert len(shown) <= max_chars
    assert shown.isprintable()


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('', ''),
        ('expected key.path=value, got a token', 'expected key.path=value, got a token'),
        ('rtsp://camera:554/stream', 'rtsp://camera:554/stream'),
        ('rtsp://user@camera/stream', 'rtsp://user@camera/stream'),
        ('rtsp://user:secret@camera:554/stream', 'rtsp://user:***@camera:554/stream'),
        ('rtsp://user:se/c@ret@camera/s', 'rtsp://user:***@camera/s'),
        ('rtsp://:secret@camera/s', 'rtsp://:***@camera/s'),
        ('rtsp://user:123#s3cret@host:1/x', 'rtsp://user:***@host:1/x'),
        ('rtsp://user:123/s3cret@host:1/x', 'rtsp://user:***@host:1/x'),
        ('rtsp://user:123?s3cret@host:1/x', 'rtsp://user:***@host:1/x'),
        ('rtsp://user:p@ss/w@host/x', 'rtsp://user:***@host/x'),
        ('rtsp://me@work:p@ss@host/x', 'rtsp://me@work:***@host/x'),
        ('http://camera:8080/x.jpg to a@b', 'http://camera:8080/x.jpg to a@b'),
        ('http://camera:8080/x@2.jpg', 'http://camera:***@2.jpg'),  # might be a password
        ('https://ghp_0123456789abcdefghij@host/x', 'https://***@host/x'),
        ('http://h/v?user=a&password=b&c=d', 'http://h/v?user=a&password=***&c=d'),
        ('https://h/t.tar?X-Amz-Signature=0a&y=1', 'https://h/t.tar?X-Amz-Signature=***&y=1'),
        ('https://h/t.tar?sv=2&sig=a%2Bb%3D', 'https://h/t.tar?sv=2&sig=***'),
        ('rtspsrc user-id=me user-pw=pw1 ! x', 'rtspsrc user-id=me user-pw=*** ! x'),
        ('rtspsrc user-pw="p w" ! x', 'rtspsrc user-pw=*** ! x'),
        ("{'secret': 'abc', 'anon': False}", "{'secret': ***, 'anon': False}"),
        ('aws_secret_access_key=abc def', 'aws_secret_access_key=*** def'),
        ('Authorization: Bearer abc.def', 'Authorization: Bearer ***'),
        ('lost rtsp://a:b@c/d and rtsp://e:f@g', 'lost rtsp://a:***@c/d and rtsp://e:***@g'),
    ],
)
def test_secrets_are_masked(text, expected):
    assert mask_secrets(text) == expected
    assert mask_secrets(expected) == expected


@given(st.text('ab:/@?&=.token '), st.sampled_from(['://u:{}@h', '?token={}', ' user-pw={} ']))
def test_secrets_are_masked_in_any_text(text, place):
    assert 'Hunter2' not in mask_secrets(text + place.format('Hunter2') + text)


@given(PASSWORDS, st.sampled_from(['', '/path', ':554/path', '/a b@c']))
def test_any_password_of_an_address_is_masked(password, path):
    shown = mask_secrets(f'lost rtsp://user:{password}@host{path}')
    assert shown == f'lost rtsp://user:***@host{path}'


@pytest.mark.parametrize('piece', ['a', '/', '//', '://a:', '?', 'token', 'token=', '//a:b/', '@'])
def test_masking_takes_linear_time(piece):
    """A quadratic pattern would need hours for a megabyte: the test would never end."""
    mask_secrets(piece * (1_000_000 // len(piece)))


@pytest.mark.parametrize(
    ('word', 'known', 'expected'),
    [
        ('x', [], 'there are none'),
        ('Brid', ['car', 'bird'], "did you mean 'animal.bird'?"),
        ('zebra', ['car', 'bird'], 'available: car, bird'),
    ],
)
def test_similar_word_is_suggested(word, known, expected):
    assert did_you_mean(word, known, 'animal.') == expected
