//! The two forms of a server's listing. Names that are no ids are skipped; nothing is asked here.

use crate::id::Id;
use serde::Deserialize;

#[derive(Deserialize)]
struct Sized {
    name: String,
    size: u64,
}

/// Reads version 2: names with sizes in bytes.
///
/// # Errors
/// Not such a list.
pub fn sized(json: &[u8], each: &mut dyn FnMut(Id, u64)) -> Result<(), serde_json::Error> {
    // Go writes an empty list as null.
    let files: Option<Vec<Sized>> = serde_json::from_slice(json)?;
    for file in files.into_iter().flatten() {
        if let Ok(id) = file.name.parse() {
            each(id, file.size);
        }
    }
    Ok(())
}

/// Reads version 1: names alone.
///
/// # Errors
/// Not such a list.
pub fn plain(json: &[u8]) -> Result<Vec<Id>, serde_json::Error> {
    let names: Option<Vec<String>> = serde_json::from_slice(json)?;
    let names = names.into_iter().flatten();
    Ok(names.filter_map(|name| name.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings_are_read_in_both_forms_and_nonsense_is_refused() {
        let id = Id::of(b"x");
        let mut found = Vec::new();
        let json = format!(r#"[{{"name":"{id}","size":7}},{{"name":"..","size":1}}]"#);
        sized(json.as_bytes(), &mut |id, size| found.push((id, size))).unwrap();
        assert_eq!(found, [(id, 7)]);
        assert_eq!(plain(format!(r#"["{id}","x"]"#).as_bytes()).unwrap(), [id]);
        assert!(plain(b"null").unwrap().is_empty());
        for nonsense in ["{}", "[1]", "[\"a\"", "<html>"] {
            assert!(plain(nonsense.as_bytes()).is_err());
            assert!(sized(nonsense.as_bytes(), &mut |_, _| {}).is_err());
        }
    }
}
