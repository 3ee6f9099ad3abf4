//! Logos: somebody's picture, decoded and drawn anew, so that what we serve from our origin is pixels and nothing else.

use std::fs::File;
use std::io::{Cursor, Read as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::{ImageFormat, ImageReader, Limits};

use crate::domain::issuer::Logo;
use crate::secret::sha256;

/// Most bytes of a picture that is taken.
pub const MAX_BYTES: usize = 1024 * 1024;
/// Most pixels of a picture's side, before it is made smaller.
const MAX_SIDE: u32 = 4096;
/// Most bytes that decoding may take.
const MAX_MEMORY: u64 = 64 * 1024 * 1024;
/// Pixels of the longer side as it is served.
const SIDE: u32 = 256;

/// What is wrong with a picture; the sentence is fit for whoever sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LogoError(pub &'static str);

/// Reads a picture's file, as far as one may be long.
///
/// # Errors
/// When it cannot be read.
pub fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a PNG or JPEG and draws it anew as a PNG of at most 256 by 256 pixels. Whatever else the file holds (metadata, a second
/// document, trailing bytes) is left behind. It takes milliseconds to tens of them: not for a thread that answers requests.
///
/// # Errors
/// When it is too large, another format, or broken.
pub fn redraw(bytes: &[u8]) -> Result<Logo, LogoError> {
    if bytes.len() > MAX_BYTES {
        return Err(LogoError("a logo has at most 1 MiB"));
    }
    let Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg)) = image::guess_format(bytes) else {
        return Err(LogoError("a logo is a PNG or a JPEG; SVG and others are not taken"));
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_MEMORY);
    reader.limits(limits);
    let picture =
        reader.decode().map_err(|_| LogoError("the picture is broken, or larger than 4096 by 4096 pixels"))?;
    let picture = if picture.width().max(picture.height()) > SIDE { picture.thumbnail(SIDE, SIDE) } else { picture };
    let mut png = Vec::new();
    picture
        .to_rgba8()
        .write_to(&mut Cursor::new(&mut png), ImageFormat::Png)
        .map_err(|_| LogoError("the picture cannot be drawn"))?;
    Logo::stored(&STANDARD.encode(&png), sha256(&png)).ok_or(LogoError("the picture is too detailed for a logo"))
}

/// The PNG of a logo.
#[must_use]
pub fn png(logo: &Logo) -> Option<Vec<u8>> {
    STANDARD.decode(logo.base64()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Vec::new();
        image::RgbImage::from_fn(width, height, |x, y| image::Rgb([x.to_le_bytes()[0], y.to_le_bytes()[0], 7]))
            .write_to(&mut Cursor::new(&mut bytes), format)
            .unwrap();
        bytes
    }

    #[test]
    fn only_pixels_survive() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg] {
            let mut bytes = picture(600, 300, format);
            bytes.extend_from_slice(b"<script>alert(1)</script>");
            let made = png(&redraw(&bytes).unwrap()).unwrap();
            assert!(made.starts_with(b"\x89PNG") && !made.windows(7).any(|w| w == b"<script"), "{format:?}");
            let drawn = image::load_from_memory(&made).unwrap();
            assert_eq!((drawn.width(), drawn.height()), (256, 128));
        }
        assert_eq!(redraw(&picture(20, 10, ImageFormat::Png)), redraw(&picture(20, 10, ImageFormat::Png)));
    }

    #[test]
    fn what_is_not_taken() {
        let big = vec![0; MAX_BYTES + 1];
        let wide = picture(MAX_SIDE + 1, 1, ImageFormat::Png);
        let svg = br#"<svg xmlns="http://www.w3.org/2000/svg"><script/></svg>"#.to_vec();
        let polyglot = [b"GIF89a".as_slice(), b"/*<svg>*/"].concat();
        let cut = picture(20, 20, ImageFormat::Png)[..60].to_vec();
        for (bytes, problem) in [
            (big, "1 MiB"),
            (svg, "PNG or a JPEG"),
            (polyglot, "PNG or a JPEG"),
            (Vec::new(), "PNG or a JPEG"),
            (cut, "broken"),
            (wide, "4096"),
        ] {
            let error = redraw(&bytes).unwrap_err();
            assert!(error.to_string().contains(problem), "{error}");
        }
    }
}
