//! What every store must do, checked the same way for each. Says which rule was broken, never why.

use super::{Class, Kind, Name, Store, StoreError};
use crate::id::Id;

type Outcome = Result<(), String>;

/// Runs all rules; `make` gives a fresh store for the named case, prepared or not.
///
/// # Errors
/// The first broken rule, in words.
pub fn check<S: Store>(make: &dyn Fn(&str) -> S) -> Result<(), String> {
    type Case<S> = (&'static str, fn(&S) -> Outcome);
    let cases: [Case<S>; 6] = [
        ("round-trip", round_trip),
        ("missing", missing),
        ("ranges", ranges),
        ("listing", listing),
        ("again", again),
        ("removal", removal),
    ];
    for (name, case) in cases {
        let store = make(name);
        for _ in 0..2 {
            store
                .prepare()
                .map_err(|error| format!("{name}: {error}"))?;
        }
        case(&store).map_err(|broken| format!("{name}: {broken}"))?;
    }
    Ok(())
}

fn file(kind: Kind, content: &[u8]) -> Name {
    Name::File(kind, Id::of(content))
}

fn demand(holds: bool, rule: impl Into<String>) -> Outcome {
    if holds { Ok(()) } else { Err(rule.into()) }
}

fn done<T>(result: Result<T, StoreError>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

fn is_missing<T>(result: Result<T, StoreError>) -> bool {
    result.is_err_and(|error| error.class == Class::Missing)
}

fn round_trip<S: Store>(store: &S) -> Outcome {
    let large: Vec<u8> = (0..3_000_000_u32)
        .map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1])
        .collect();
    for content in [&b"some bytes"[..], b"", &large] {
        for name in Kind::ALL.map(|kind| file(kind, content)) {
            done(store.put(name, content))?;
            demand(
                done(store.get(name))? == content,
                format!("{name} came back changed"),
            )?;
            demand(
                done(store.size(name))? == content.len() as u64,
                format!("wrong size of {name}"),
            )?;
        }
    }
    done(store.put(Name::Config, b"config"))?;
    demand(
        done(store.get(Name::Config))? == b"config",
        "config came back changed",
    )
}

fn missing<S: Store>(store: &S) -> Outcome {
    for name in Kind::ALL
        .map(|kind| file(kind, b"nobody"))
        .into_iter()
        .chain([Name::Config])
    {
        demand(
            is_missing(store.get(name)),
            "reading a missing file must say missing",
        )?;
        demand(
            is_missing(store.size(name)),
            "the size of a missing file must be missing",
        )?;
        demand(
            is_missing(store.get_range(name, 0, 1, &mut Vec::new())),
            "a range of a missing file must be missing",
        )?;
        demand(
            is_missing(store.remove(name)),
            "removing a missing file must say missing",
        )?;
    }
    Ok(())
}

fn ranges<S: Store>(store: &S) -> Outcome {
    let content: Vec<u8> = (0..=255).collect();
    let name = file(Kind::Pack, &content);
    done(store.put(name, &content))?;
    let mut buffer = b"old".to_vec();
    for (offset, length) in [
        (0, 256),
        (0, 1),
        (255, 1),
        (10, 100),
        (250, 100),
        (256, 5),
        (300, 5),
        (7, 0),
    ] {
        done(store.get_range(name, offset as u64, length, &mut buffer))?;
        let from = offset.min(256);
        let expected = &content[from..(from + length).min(256)];
        demand(
            buffer == expected,
            format!("wrong bytes for {length} from {offset}"),
        )?;
    }
    Ok(())
}

fn listing<S: Store>(store: &S) -> Outcome {
    let mut expected = Vec::new();
    for number in 0..40_u8 {
        let content = vec![number; usize::from(number)];
        let name = Id::of(&content);
        done(store.put(Name::File(Kind::Pack, name), &content))?;
        expected.push((name, u64::from(number)));
    }
    done(store.put(file(Kind::Snapshot, b"other"), b"other"))?;
    let mut found = Vec::new();
    done(store.list(Kind::Pack, &mut |id, size| found.push((id, size))))?;
    found.sort();
    expected.sort();
    demand(found == expected, "the listing is not what was stored")?;
    let mut locks = 0;
    done(store.list(Kind::Lock, &mut |_, _| locks += 1))?;
    demand(locks == 0, "an empty kind lists something")
}

fn again<S: Store>(store: &S) -> Outcome {
    let name = file(Kind::Index, b"twice");
    done(store.put(name, b"twice"))?;
    done(store.put(name, b"twice"))?;
    demand(
        done(store.get(name))? == b"twice",
        "storing twice changed the file",
    )?;
    // A remnant of another size, as a server without atomic uploads leaves it.
    done(store.put(file(Kind::Index, b"remnant"), b"rem"))?;
    done(store.put(file(Kind::Index, b"remnant"), b"remnant"))?;
    demand(
        done(store.get(file(Kind::Index, b"remnant")))? == b"remnant",
        "a remnant was taken for the file",
    )
}

fn removal<S: Store>(store: &S) -> Outcome {
    let name = file(Kind::Lock, b"lock");
    done(store.put(name, b"lock"))?;
    done(store.remove(name))?;
    demand(is_missing(store.get(name)), "a removed file can be read")?;
    done(store.put(name, b"lock"))?;
    demand(
        done(store.get(name))? == b"lock",
        "a removed file cannot be stored again",
    )
}
