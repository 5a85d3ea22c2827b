//! Gzip without compression: stored blocks in a valid frame. Enough for a body that is not what its length promised.

/// A gzip member holding `bytes`.
pub(crate) fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let mut blocks = bytes.chunks(65_535).peekable();
    if blocks.peek().is_none() {
        out.extend_from_slice(&[1, 0, 0, 255, 255]);
    }
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(u8::from(blocks.peek().is_none()));
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&(!length).to_le_bytes());
        out.extend_from_slice(block);
    }
    out.extend_from_slice(&crc32(bytes).to_le_bytes());
    let length = u32::try_from(bytes.len() as u64 & 0xffff_ffff).unwrap_or_default();
    out.extend_from_slice(&length.to_le_bytes());
    out
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut word = index;
        let mut bit = 0;
        while bit < 8 {
            word = if word & 1 == 1 {
                word >> 1 ^ 0xedb8_8320
            } else {
                word >> 1
            };
            bit += 1;
        }
        table[index as usize] = word;
        index += 1;
    }
    table
}

fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    !bytes.iter().fold(!0, |crc: u32, byte| {
        TABLE[usize::from(crc.to_le_bytes()[0] ^ byte)] ^ crc >> 8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(pack(b"").len(), 10 + 5 + 8);
        assert_eq!(pack(&[7; 70_000]).len(), 10 + 2 * 5 + 70_000 + 8);
    }
}
