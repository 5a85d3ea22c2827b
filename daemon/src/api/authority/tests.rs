//! Against frames as clients send them.

use super::*;
use proptest::prelude::*;

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
}

fn connection(frames: &[Vec<u8>]) -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frames.concat()].concat()
}

fn passed(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    Overwriter::default().pass(&mut bytes);
    bytes
}

/// The block with another value of the authority, between two fields that must stay.
fn block(authority: &[u8]) -> Vec<u8> {
    [b"\x83\x44\x04/a/b\x20", authority, b"\x40\x02te\x08trailers\xbe"].concat()
}

fn check(sent: &[u8], expected: &[u8]) {
    let wrap = |block: &[u8]| {
        connection(&[
            frame(4, 0, b"/path"),
            frame(HEADERS, 5, block),
            frame(0, 1, b"\x41\x02/a"),
        ])
    };
    let (sent, expected) = (wrap(&block(sent)), wrap(&block(expected)));
    assert_eq!(passed(&sent), expected);
    let mut overwriter = Overwriter::default();
    let byte_by_byte: Vec<u8> = sent
        .iter()
        .map(|byte| {
            let mut one = [*byte];
            overwriter.pass(&mut one);
            one[0]
        })
        .collect();
    assert_eq!(byte_by_byte, expected);
}

#[test]
fn the_authority_is_overwritten_however_it_is_spelt() {
    // By the static table's index: stored, not stored, never to be stored.
    check(b"\x41\x04/a/b", b"\x41\x04xxxx");
    check(b"\x01\x04/a/b", b"\x01\x04xxxx");
    check(b"\x11\x04/a/b", b"\x11\x04xxxx");
    // By name, as gRPC's C core does, and in Huffman's code.
    check(b"\x40\x0a:authority\x07tmp%2Fs", b"\x40\x0a:authority\x07xxxxxxx");
    let huffman = [b"\x40\x88", AUTHORITY_HUFFMAN].concat();
    let sent = [&huffman, &b"\x88\x54\x58\x53\x4d\x6a\x8b\x0a\x3f"[..]].concat();
    check(&sent, &[&huffman, &b"\x08xxxxxxxx"[..]].concat());
    // None at all, and an empty one.
    check(b"", b"");
    check(b"\x41\x00", b"\x41\x00");
    check(b"\x41\x80", b"\x41\x00");
}

#[test]
fn long_values_are_followed() {
    let sent = [b"\x41\x7f\x81\x01".to_vec(), vec![b'%'; 256]].concat();
    check(&sent, &[b"\x41\x7f\x81\x01".to_vec(), vec![b'x'; 256]].concat());
}

#[test]
fn other_fields_stay() {
    let other = b"\x40\x0b:authority2\x02/a\x7f\x05\x02/a\x0f\x33\x02/a\x3f\xe1\x1f\xff\x21";
    check(other, other);
}

#[test]
fn padding_priority_and_continuations_are_followed() {
    let padded = [b"\x03\0\0\0\0\x10".to_vec(), block(b"\x41\x02/a"), b"///".to_vec()].concat();
    let (first, second) = (b"\x83\x41\x05ab".to_vec(), b"c/d\x41\x02/b".to_vec());
    let sent = connection(&[
        frame(HEADERS, 4 | PADDED | PRIORITY, &padded),
        frame(HEADERS, 0, &first),
        frame(CONTINUATION, 4, &second),
        frame(HEADERS, 4 | PADDED, b"\x02\0\0"),
        frame(HEADERS, 4, b"\x41\x02/c"),
    ]);
    let padded = [b"\x03\0\0\0\0\x10".to_vec(), block(b"\x41\x02xx"), b"///".to_vec()].concat();
    let expected = connection(&[
        frame(HEADERS, 4 | PADDED | PRIORITY, &padded),
        frame(HEADERS, 0, b"\x83\x41\x05xx"),
        frame(CONTINUATION, 4, b"xxx\x41\x02xx"),
        frame(HEADERS, 4 | PADDED, b"\x02\0\0"),
        frame(HEADERS, 4, b"\x41\x02xx"),
    ]);
    assert_eq!(passed(&sent), expected);
}

#[test]
fn nonsense_passes_as_it_came() {
    for nonsense in [
        frame(HEADERS, 4 | PADDED, b"\x09\x41\x01/"),
        frame(HEADERS, 4 | PRIORITY, b"\0"),
        frame(HEADERS, 4, b"\x7f\xff\xff\xff\xff\xff\xff"),
    ] {
        let sent = connection(&[nonsense, frame(HEADERS, 4, b"\x41\x02/a")]);
        assert_eq!(passed(&sent), sent);
    }
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces(payload in proptest::collection::vec(any::<u8>(), 0..200), flags: u8, cut in 0_usize..240) {
        let sent = connection(&[frame(HEADERS, flags, &payload), frame(CONTINUATION, 4, &payload)]);
        let mut pieces = sent.clone();
        let (first, second) = pieces.split_at_mut(cut.min(sent.len()));
        let mut overwriter = Overwriter::default();
        overwriter.pass(first);
        overwriter.pass(second);
        prop_assert_eq!(pieces, passed(&sent));
    }
}
