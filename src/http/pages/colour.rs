//! An issuer's own colour on its pages: adjusted until texts in it and on it can be read, in both schemes.

use crate::domain::issuer::Colour;

/// Least contrast of a text (WCAG 2.2, success criterion 1.4.3).
const LEGIBLE: f64 = 4.5;
/// What texts stand on: the sheets and grounds of `style.css`, by scheme.
const LIGHT: [[u8; 3]; 2] = [[0xff, 0xff, 0xff], [0xf6, 0xf6, 0xf4]];
const DARK: [[u8; 3]; 2] = [[0x14, 0x16, 0x1a], [0x1c, 0x1f, 0x25]];
const BLACK: [u8; 3] = [0; 3];
const WHITE: [u8; 3] = [255; 3];

/// Where the stylesheet of a colour is, from the root of the origin: it depends on nothing else, so issuers may share it.
pub fn colour_path(colour: &Colour) -> String {
    format!("/assets/colour/{}.css", &colour.as_str()[1..])
}

/// The stylesheet of a colour, to be loaded after [`super::STYLESHEET`].
pub fn colour_stylesheet(colour: &Colour) -> String {
    let own = rgb(colour);
    let (light, dark) = (legible(own, LIGHT, BLACK), legible(own, DARK, WHITE));
    let (on_light, on_dark) = (text_on(light), text_on(dark));
    format!(
        ":root {{ --accent: light-dark({}, {}); --on-accent: light-dark({}, {}); }}\n",
        hex(light),
        hex(dark),
        hex(on_light),
        hex(on_dark)
    )
}

fn rgb(colour: &Colour) -> [u8; 3] {
    let digits = u32::from_str_radix(&colour.as_str()[1..], 16).unwrap_or_default().to_be_bytes();
    [digits[1], digits[2], digits[3]]
}

fn hex([r, g, b]: [u8; 3]) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// The nearest mixture with `end` that can be read on every one of `grounds`.
fn legible(own: [u8; 3], grounds: [[u8; 3]; 2], end: [u8; 3]) -> [u8; 3] {
    let steps = (0..=32).map(|step| mix(own, end, step));
    let mut readable = steps.filter(|colour| grounds.iter().all(|ground| contrast(*colour, *ground) >= LEGIBLE));
    readable.next().unwrap_or(end)
}

/// `step` 32nds of the way from one colour to another.
fn mix(from: [u8; 3], to: [u8; 3], step: u16) -> [u8; 3] {
    let part = |a: u8, b: u8| {
        let sum = u16::from(a) * (32 - step) + u16::from(b) * step;
        u8::try_from(sum / 32).unwrap_or(u8::MAX)
    };
    [part(from[0], to[0]), part(from[1], to[1]), part(from[2], to[2])]
}

/// Black or white, whichever reads better.
fn text_on(ground: [u8; 3]) -> [u8; 3] {
    if contrast(BLACK, ground) >= contrast(WHITE, ground) { BLACK } else { WHITE }
}

/// WCAG 2.2, "contrast ratio".
fn contrast(a: [u8; 3], b: [u8; 3]) -> f64 {
    let (a, b) = (luminance(a), luminance(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

/// WCAG 2.2, "relative luminance".
fn luminance(colour: [u8; 3]) -> f64 {
    let linear = colour.map(|part| {
        let part = f64::from(part) / 255.0;
        if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
    });
    0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_colour_can_be_read() {
        let parts = [0_u8, 0x33, 0x66, 0x80, 0x99, 0xcc, 0xff];
        for r in parts {
            for g in parts {
                for b in parts {
                    let own = [r, g, b];
                    for (grounds, end) in [(LIGHT, BLACK), (DARK, WHITE)] {
                        let accent = legible(own, grounds, end);
                        for ground in grounds {
                            assert!(contrast(accent, ground) >= LEGIBLE, "{} on {}", hex(own), hex(ground));
                        }
                        assert!(contrast(text_on(accent), accent) >= LEGIBLE, "on {}", hex(own));
                    }
                }
            }
        }
    }

    #[test]
    fn a_legible_colour_stays_as_it_is() {
        let sheet = colour_stylesheet(&Colour::parse("#0A5d57").unwrap());
        assert!(sheet.starts_with(":root { --accent: light-dark(#0a5d57, #"), "{sheet}");
        assert!(sheet.ends_with("; --on-accent: light-dark(#ffffff, #000000); }\n"), "{sheet}");
        assert_eq!(colour_path(&Colour::parse("#0A5d57").unwrap()), "/assets/colour/0a5d57.css");
    }

    #[test]
    fn the_grounds_are_those_of_the_pages() {
        let grounds = [
            format!("--ground: light-dark({}, {})", hex(LIGHT[1]), hex(DARK[0])),
            format!("--sheet: light-dark({}, {})", hex(LIGHT[0]), hex(DARK[1])),
        ];
        for ground in grounds {
            assert!(super::super::STYLESHEET.contains(&ground), "{ground}");
        }
    }
}
