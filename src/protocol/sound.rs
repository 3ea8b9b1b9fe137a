//! How long a sound is, where its container says so: WAV, FLAC, Ogg (Opus, Vorbis), MP4 and its kin, MP3.
//!
//! Decodes nothing. The cost is bounded by the number of chunks, boxes or frames; none are followed past `STEPS_MAX`, and nothing is
//! guessed: what does not say it is `None`.

/// More chunks, boxes and pages than a sound of a provider's size limit has: frames of MP3 are at least 24 bytes.
const STEPS_MAX: usize = 2_000_000;

/// The length in milliseconds, rounded half up. `None` where the container does not say it, or is of a kind that is not known.
#[must_use]
pub fn millis(sound: &[u8]) -> Option<u64> {
    match sound {
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'A',
            b'V',
            b'E',
            ..,
        ] => wav(sound),
        [b'f', b'L', b'a', b'C', ..] => flac(sound),
        [b'O', b'g', b'g', b'S', ..] => ogg(sound),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => mp4(sound),
        [b'I', b'D', b'3', ..] | [0xff, 0xe0..=0xff, ..] => mp3(sound),
        _ => None,
    }
}

/// `count` of a thing of which there are `rate` a second.
fn of(count: u64, rate: u64) -> Option<u64> {
    let rate = u128::from(rate);
    let doubled = (u128::from(count) * 2_000).checked_add(rate)?;
    u64::try_from(doubled.checked_div(rate * 2)?).ok()
}

fn little(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(four.try_into().ok()?))
}

fn big(bytes: &[u8], at: usize) -> Option<u32> {
    little(bytes, at).map(u32::swap_bytes)
}

fn big_long(bytes: &[u8], at: usize) -> Option<u64> {
    let (high, low) = (big(bytes, at)?, big(bytes, at.checked_add(4)?)?);
    Some(u64::from(high) << 32 | u64::from(low))
}

/// Bytes of data by bytes a second. Who writes into a pipe says that the data is endless: then it is what there is.
fn wav(sound: &[u8]) -> Option<u64> {
    let (mut at, mut rate) = (12_usize, None);
    for _ in 0..STEPS_MAX {
        let (name, size) = (sound.get(at..at + 4)?, little(sound, at + 4)? as usize);
        at += 8;
        match name {
            b"fmt " => rate = Some(little(sound, at + 8)?),
            b"data" => return of(size.min(sound.len() - at) as u64, rate?.into()),
            _ => {}
        }
        // Chunks begin at even places.
        at = at.checked_add(size)?.checked_add(size & 1)?;
    }
    None
}

/// STREAMINFO is always the first block (RFC 9639, 8.2): 20 bits of rate, 8 of other things, 36 of samples, of which none are said by 0.
fn flac(sound: &[u8]) -> Option<u64> {
    let word = big_long(sound, 18)?;
    let samples = word & 0xf_ffff_ffff;
    of((samples > 0).then_some(samples)?, word >> 44)
}

/// The last page's position (RFC 3533), at 48 kHz for Opus less what is skipped at its start (RFC 7845), at its own rate for Vorbis.
fn ogg(sound: &[u8]) -> Option<u64> {
    let head = sound.get(27 + usize::from(*sound.get(26)?)..)?;
    let (rate, skipped) = if head.starts_with(b"OpusHead") {
        let skipped = head.get(10..12)?;
        (
            48_000,
            u64::from(u16::from_le_bytes(skipped.try_into().ok()?)),
        )
    } else if head.starts_with(b"\x01vorbis") {
        (little(head, 12)?, 0)
    } else {
        return None;
    };
    let last = memchr::memmem::rfind(sound, b"OggS")?;
    let position = sound.get(last + 6..last + 14)?;
    let position = u64::from_le_bytes(position.try_into().ok()?);
    // All ones: no packet ends there.
    let position = (position != u64::MAX).then_some(position)?;
    of(position.saturating_sub(skipped), rate.into())
}

/// The bytes of the first box `wanted` in `boxes` (ISO/IEC 14496-12, 4.2).
fn boxed<'a>(boxes: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let mut at = 0_usize;
    for _ in 0..STEPS_MAX {
        let name = boxes.get(at + 4..at + 8)?;
        let (head, size) = match big(boxes, at)? {
            0 => (8, boxes.len() - at),
            1 => (16, usize::try_from(big_long(boxes, at + 8)?).ok()?),
            size => (8, size as usize),
        };
        let end = at.checked_add(size.max(head))?;
        let end = (end <= boxes.len()).then_some(end)?;
        if name == wanted {
            return boxes.get(at + head..end);
        }
        at = end;
    }
    None
}

/// `moov.mvhd`: a scale and a length in it (ISO/IEC 14496-12, 8.2.2). A fragmented film says 0 there, which is no length.
fn mp4(sound: &[u8]) -> Option<u64> {
    let head = boxed(boxed(sound, b"moov")?, b"mvhd")?;
    let (scale, length) = match head.first()? {
        1 => (big(head, 20)?, big_long(head, 24)?),
        _ => (big(head, 12)?, big(head, 16)?.into()),
    };
    let known = length > 0 && length != u64::MAX && length != u64::from(u32::MAX);
    of(known.then_some(length)?, scale.into())
}

/// One frame's bytes, samples and samples a second (ISO/IEC 11172-3, 2.4.2.3; 13818-3), layer III only.
fn frame(head: u32) -> Option<(usize, u64, u64)> {
    const FIRST: [u64; 15] = [
        0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320,
    ];
    const SECOND: [u64; 15] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];
    let (version, layer) = ((head >> 19) & 3, (head >> 17) & 3);
    if head >> 21 != 0x7ff || layer != 1 {
        return None;
    }
    let (halved, rates, samples) = match version {
        3 => (0, FIRST, 1_152),
        2 => (1, SECOND, 576),
        0 => (2, SECOND, 576),
        _ => return None,
    };
    let rate = [44_100_u64, 48_000, 32_000].get(((head >> 10) & 3) as usize)? >> halved;
    let kilobits = *rates.get(((head >> 12) & 15) as usize)?;
    let padding = u64::from((head >> 9) & 1);
    let bytes = samples / 8 * kilobits * 1_000 / rate + padding;
    // Rate 0 is free: its frames do not say where they end.
    (kilobits > 0).then_some((bytes as usize, samples, rate))
}

/// The frames, one after the other, behind the tag that may stand first (ID3v2, 3.1).
fn mp3(sound: &[u8]) -> Option<u64> {
    let mut at = 0;
    if sound.starts_with(b"ID3") {
        let size = sound.get(6..10)?;
        let size = size.iter().fold(0, |n, b| n << 7 | usize::from(b & 0x7f));
        at = 10 + size;
    }
    let (_, _, rate) = frame(big(sound, at)?)?;
    let mut samples = 0;
    for _ in 0..STEPS_MAX {
        let Some((bytes, more, _)) = big(sound, at).and_then(frame) else {
            // What follows the frames is a tag or the end.
            return of(samples, rate);
        };
        samples += more;
        at += bytes;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(size: u32, bytes: usize) -> Vec<u8> {
        let mut wav =
            b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data"
                .to_vec();
        wav.extend_from_slice(&size.to_le_bytes());
        wav.resize(wav.len() + bytes, 0);
        wav
    }

    #[test]
    fn a_wave_is_as_long_as_its_data_even_when_that_is_said_to_be_endless() {
        assert_eq!(millis(&wave(24_000, 24_000)), Some(1_500));
        assert_eq!(millis(&wave(u32::MAX, 16_000)), Some(1_000));
    }

    #[test]
    fn flac_says_its_samples_at_the_start_or_not_at_all() {
        let of = |samples: u64| {
            let mut flac = b"fLaC\x80\0\0\x22".to_vec();
            flac.extend_from_slice(&[0; 10]);
            flac.extend_from_slice(&(16_000_u64 << 44 | samples).to_be_bytes());
            millis(&flac)
        };
        assert_eq!((of(40_000), of(0)), (Some(2_500), None));
    }

    #[test]
    fn opus_is_counted_at_48_khz_from_the_last_page() {
        let page = |position: u64, body: &[u8]| {
            let mut page = b"OggS\0\0".to_vec();
            page.extend_from_slice(&position.to_le_bytes());
            page.extend_from_slice(&[0; 12]);
            page.extend_from_slice(&[1, body.len() as u8]);
            page.extend_from_slice(body);
            page
        };
        let mut ogg = page(0, b"OpusHead\x01\x01\x38\x01\x80\x3e\0\0\0\0\0");
        ogg.extend(page(48_312, b"x"));
        assert_eq!(millis(&ogg), Some(1_000));
    }

    #[test]
    fn mp4_says_its_length_in_the_films_head() {
        let named = |name: &[u8], inner: &[u8]| {
            let size = (inner.len() + 8) as u32;
            [&size.to_be_bytes()[..], name, inner].concat()
        };
        let mut head = vec![0; 12];
        head.extend_from_slice(&600_u32.to_be_bytes());
        head.extend_from_slice(&2_100_u32.to_be_bytes());
        let film = named(b"moov", &named(b"mvhd", &head));
        let mp4 = [named(b"ftyp", b"M4A "), named(b"mdat", b"x"), film].concat();
        assert_eq!(millis(&mp4), Some(3_500));
    }

    #[test]
    fn mp3_is_the_sum_of_its_frames_behind_a_tag() {
        // MPEG-1, layer III, 128 kbit/s, 48 kHz: 384 bytes and 24 ms a frame.
        let mut mp3 = b"ID3\x04\0\0\0\0\0\x02xx".to_vec();
        for _ in 0..50 {
            let start = mp3.len();
            mp3.extend_from_slice(&[0xff, 0xfb, 0x94, 0x00]);
            mp3.resize(start + 384, 0);
        }
        mp3.extend_from_slice(b"TAG");
        assert_eq!(millis(&mp3), Some(1_200));
    }

    #[test]
    fn no_beginning_of_a_sound_and_no_noise_makes_it_fail() {
        let whole = wave(100, 100);
        for end in 0..whole.len() {
            let _ = millis(&whole[..end]);
        }
        for start in [
            &b"OggS"[..],
            b"fLaC",
            b"\0\0\0\x08ftyp",
            b"ID3",
            b"\xff\xfb",
        ] {
            for fill in [0, 1, 0x7f, 0xff] {
                let mut noise = start.to_vec();
                noise.resize(300, fill);
                let _ = millis(&noise);
            }
        }
        assert_eq!(millis(b"words"), None);
    }
}
