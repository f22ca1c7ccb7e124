//! Digits, hexadecimal and made-up words, written without the machinery of `format!`.

/// "00" to "99", one after another.
const PAIRS: [u8; 200] = {
    let mut pairs = [0; 200];
    let mut at = 0;
    while at < 100 {
        pairs[2 * at] = b'0' + (at / 10) as u8;
        pairs[2 * at + 1] = b'0' + (at % 10) as u8;
        at += 1;
    }
    pairs
};

/// Appends `value` in decimal.
#[inline]
pub(super) fn decimal(mut value: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    while value >= 10 {
        let pair = (value % 100) as usize * 2;
        value /= 100;
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    }
    if value > 0 || at == digits.len() {
        at -= 1;
        digits[at] = b'0' + value as u8;
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends `value` in decimal, with a minus sign below 0.
pub(super) fn signed(value: i64, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    decimal(value.unsigned_abs(), out);
}

/// The two digits of a value below 100.
#[inline]
pub(super) fn pair(value: u64) -> [u8; 2] {
    let at = value as usize % 100 * 2;
    [PAIRS[at], PAIRS[at + 1]]
}

/// Appends the lowest `digits` hexadecimal digits of `value`.
pub(super) fn hex(value: u64, digits: u32, out: &mut Vec<u8>) {
    for place in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(value >> (4 * place)) as usize & 15]);
    }
}

/// Appends the lowest `characters` digits of `value` in base 62, the lowest first: the code of a short link.
pub(super) fn link(mut value: u64, characters: u32, out: &mut Vec<u8>) {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for _ in 0..characters {
        out.push(LETTERS[(value % 62) as usize]);
        value /= 62;
    }
}

/// A hundred syllables of consonants and one vowel, with their lengths; padded so that one copy of a fixed size
/// writes any of them.
const SYLLABLES: [([u8; 4], usize); 100] = {
    const ONSETS: [&[u8]; 20] = [
        b"k", b"t", b"s", b"n", b"r", b"l", b"m", b"p", b"d", b"b", b"v", b"g", b"f", b"st", b"tr", b"sh",
        b"h", b"pl", b"z", b"ch",
    ];
    let mut syllables = [([0; 4], 0); 100];
    let mut at = 0;
    while at < 100 {
        let onset = ONSETS[at / 5];
        let mut length = 0;
        while length < onset.len() {
            syllables[at].0[length] = onset[length];
            length += 1;
        }
        syllables[at].0[length] = b"aeiou"[at % 5];
        syllables[at].1 = length + 1;
        at += 1;
    }
    syllables
};

/// Appends the made-up word number `index`: pronounceable, in lower case, and no other index's.
///
/// The index is written in bijective base 100, each digit as a syllable; so the first hundred words have one
/// syllable, the next ten thousand two. Before that, each digit is moved about by the one before it, which keeps
/// different indices different and neighbours unlike.
pub(super) fn word(index: u64, out: &mut Vec<u8>) {
    // A u64 has at most ten such digits, of at most three letters; the last copy writes one byte more.
    let mut letters = [0; 32];
    let mut length = 0;
    let mut rest = index;
    let mut before = 0;
    loop {
        let digit = rest % 100;
        let moved = (digit * 37 + before * 61 + 11) % 100;
        before = moved + 1;
        let (syllable, letters_of_it) = SYLLABLES[moved as usize];
        letters[length..length + 4].copy_from_slice(&syllable);
        length += letters_of_it;
        rest /= 100;
        if rest == 0 {
            break;
        }
        rest -= 1;
    }
    out.extend_from_slice(&letters[..length]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn decimals_are_those_of_std() {
        let near_powers = (0..20).flat_map(|n| {
            let power = 10u64.pow(n);
            [power - 1, power, power + 1]
        });
        for value in near_powers.chain(0..1100).chain([u64::MAX]) {
            assert_eq!(written(|out| decimal(value, out)), value.to_string());
        }
        for value in [i64::MIN, -1, 0, 1, i64::MAX] {
            assert_eq!(written(|out| signed(value, out)), value.to_string());
        }
        assert_eq!((pair(0), pair(7), pair(99)), (*b"00", *b"07", *b"99"));
    }

    #[test]
    fn hexadecimal_and_links_have_a_fixed_width() {
        assert_eq!(written(|out| hex(0xabc, 5, out)), "00abc");
        assert_eq!(written(|out| hex(0xabc, 2, out)), "bc");
        assert_eq!(written(|out| link(61 + 62 * 10, 3, out)), "zA0");
    }

    #[test]
    fn words_are_distinct_and_short() {
        let mut seen = HashSet::new();
        for index in 0..300_000 {
            let word = written(|out| word(index, out));
            assert!((2..=12).contains(&word.len()), "{word}");
            assert!(word.bytes().all(|byte| byte.is_ascii_lowercase()), "{word}");
            assert!(seen.insert(word), "{index}");
        }
        assert!(!written(|out| word(u64::MAX, out)).is_empty());
    }
}
