//! Which fonts a text needs: the built-in face where it suffices, else the fewest installed ones that have the letters. It keeps only those, because memory counts.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use cosmic_text::fontdb::{Database, FaceInfo, ID, Source, Stretch, Style, Weight};
use ttf_parser::Face;
use unicode_script::{Script, UnicodeScript};

/// The built-in face; see `screen/fonts/README.md`.
const BUILT_IN: &[u8] = include_bytes!("../fonts/roboto.ttf");
/// Its family.
pub const FAMILY: &str = "Roboto";
/// Where systems keep fonts.
pub const FOLDERS: [&str; 2] = ["/usr/share/fonts", "/usr/local/share/fonts"];

/// The faces for some texts, and the letters that none of them has.
pub(crate) struct Chosen {
    pub(crate) database: Database,
    pub(crate) missing: BTreeSet<char>,
}

/// Chooses faces for the texts, in a language (ISO 639), from the folders.
pub(crate) fn choose(texts: &[&str], language: &str, folders: &[PathBuf]) -> Chosen {
    let mut database = Database::new();
    database.load_font_source(Source::Binary(Arc::new(BUILT_IN)));
    let mut missing: BTreeSet<char> = texts
        .iter()
        .flat_map(|text| text.chars())
        .filter(|letter| is_drawn(*letter))
        .collect();
    if let Ok(face) = Face::parse(BUILT_IN, 0) {
        missing.retain(|letter| face.glyph_index(*letter).is_none());
    }
    if missing.is_empty() {
        return Chosen { database, missing };
    }
    let mut installed = Database::new();
    for folder in folders {
        installed.load_fonts_dir(folder);
    }
    let mut candidates: Vec<&FaceInfo> = installed.faces().filter(|face| is_plain(face)).collect();
    candidates.sort_by_key(|face| (rank(face, language), face.post_script_name.clone()));
    while let Some(best) = richest(&installed, &candidates, &missing) {
        let before = missing.len();
        missing = without(&installed, best, missing);
        if missing.len() == before {
            break;
        }
        if let Some(face) = installed.face(best) {
            database.push_face_info(face.clone());
        }
    }
    Chosen { database, missing }
}

/// Whether a letter leaves ink, so that a font has to have it: no space, no mark of direction, joining or variation.
fn is_drawn(letter: char) -> bool {
    !(letter.is_whitespace()
        || letter.is_control()
        || matches!(letter, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}'))
}

fn is_plain(face: &FaceInfo) -> bool {
    face.style == Style::Normal && face.weight == Weight::NORMAL && face.stretch == Stretch::Normal
}

/// Sans-serif faces read best on a panel; of the unified ideographs each language has its own.
fn rank(face: &FaceInfo, language: &str) -> u8 {
    let name = face.families.first().map_or("", |(name, _)| name.as_str());
    let region = match language {
        "zh" => " SC",
        "ja" => " JP",
        "ko" => " KR",
        _ => "",
    };
    let at_home = !region.is_empty() && name.ends_with(region);
    let fallback = name.contains("Mono") || face.monospaced;
    match (name.contains("Sans"), fallback) {
        _ if at_home && !fallback => 0,
        (true, false) => 1,
        (false, false) => 2,
        (_, true) => 3,
    }
}

/// The first of the candidates that have the most of the letters; `None` when none has any.
fn richest(installed: &Database, candidates: &[&FaceInfo], letters: &BTreeSet<char>) -> Option<ID> {
    let mut best = None;
    for face in candidates {
        let has = letters.len() - without(installed, face.id, letters.clone()).len();
        if has > 0 && best.is_none_or(|(most, _)| has > most) {
            best = Some((has, face.id));
        }
        if has == letters.len() {
            break;
        }
    }
    best.map(|(_, id)| id)
}

fn without(installed: &Database, id: ID, mut letters: BTreeSet<char>) -> BTreeSet<char> {
    installed.with_face_data(id, |data, index| {
        if let Ok(face) = Face::parse(data, index) {
            letters.retain(|letter| face.glyph_index(*letter).is_none());
        }
    });
    letters
}

/// The names of the scripts of letters, such as `Devanagari`, in the alphabet's order; signs that belong to none are `Symbols`.
pub(crate) fn scripts(letters: &BTreeSet<char>) -> Vec<&'static str> {
    let names: BTreeSet<&'static str> = letters
        .iter()
        .map(|letter| match letter.script() {
            Script::Common | Script::Inherited | Script::Unknown => "Symbols",
            script => script.full_name(),
        })
        .collect();
    names.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_face_writes_latin_greek_and_cyrillic_without_any_font() {
        let text = "Grüße, ŻÓŁĆ, İğ, Παρακαλώ, Пожалуйста, Їжак, Tiếng Việt, 12:30 – 75 % “€”";
        let chosen = choose(&[text], "en", &[]);
        assert_eq!(chosen.missing, BTreeSet::new());
        assert_eq!(chosen.database.len(), 1);
    }

    #[test]
    fn scripts_without_a_font_are_named() {
        let chosen = choose(&["Hello नमस्ते 你好 🙂\u{200d}\u{fe0f}"], "en", &[]);
        assert_eq!(scripts(&chosen.missing), ["Devanagari", "Han", "Symbols"]);
    }
}
