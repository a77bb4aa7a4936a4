//! Ours against the best peer of the same run. It must not compare what was not measured beside it.

use super::Bench;
use super::programs::Program;

/// A figure of ours, and that of the peers it is held against.
struct Ratio {
    name: &'static str,
    ours: &'static str,
    /// `*` stands for each peer.
    theirs: &'static str,
}

const fn ratio(name: &'static str, ours: &'static str, theirs: &'static str) -> Ratio {
    Ratio { name, ours, theirs }
}

const RATIOS: [Ratio; 15] = [
    ratio(
        "ratio.phone.first.cpu_of_borg",
        "phone.first.homing.cpu",
        "phone.first.borg.cpu",
    ),
    ratio(
        "ratio.phone.first.cpu",
        "phone.first.homing.cpu",
        "phone.first.*.cpu",
    ),
    ratio(
        "ratio.phone.first.stored",
        "phone.first.homing.stored",
        "phone.first.*.stored",
    ),
    ratio(
        "ratio.phone.restore.cpu",
        "phone.restore.homing.cpu",
        "phone.restore.*.cpu",
    ),
    ratio(
        "ratio.phone.verify.cpu",
        "phone.verify.homing.cpu",
        "phone.verify.*.cpu",
    ),
    ratio(
        "ratio.phone.sqlite.contiguous",
        "phone.sqlite.contiguous.homing.stored",
        "phone.sqlite.contiguous.*.stored",
    ),
    ratio(
        "ratio.phone.sqlite.scattered",
        "phone.sqlite.scattered.homing.stored",
        "phone.sqlite.scattered.*.stored",
    ),
    ratio(
        "ratio.phone.sqlite.appended",
        "phone.sqlite.appended.homing.stored",
        "phone.sqlite.appended.*.stored",
    ),
    ratio(
        "ratio.phone.sqlite.removed",
        "phone.sqlite.removed.homing.stored",
        "phone.sqlite.removed.*.stored",
    ),
    ratio(
        "ratio.phone.sqlite.vacuumed",
        "phone.sqlite.vacuumed.homing.stored",
        "phone.sqlite.vacuumed.*.stored",
    ),
    ratio(
        "ratio.many.nothing.cpu_of_lstat",
        "many.nothing.homing.cpu",
        "many.lstat.cpu",
    ),
    ratio(
        "ratio.many.nothing.cpu",
        "many.nothing.homing.cpu",
        "many.nothing.*.cpu",
    ),
    ratio(
        "ratio.many.nothing_told.cpu",
        "many.nothing_told.homing.cpu",
        "many.nothing.*.cpu",
    ),
    ratio(
        "ratio.many.ten_told.cpu",
        "many.ten_told.homing.cpu",
        "many.ten.*.cpu",
    ),
    ratio(
        "ratio.wire.first.sent",
        "wire.first.homing.sent",
        "wire.first.*.sent",
    ),
];

/// Works the ratios out, and the most memory that ours took in anything.
pub(super) fn ratios(bench: &mut Bench) {
    for ratio in RATIOS {
        let theirs = bench
            .programs
            .iter()
            .filter(|program| **program != Program::Homing);
        let best = theirs
            .filter_map(|peer| bench.figures.get(&ratio.theirs.replace('*', peer.name())))
            .copied()
            .min_by(f64::total_cmp);
        if let (Some(ours), Some(best)) = (bench.figures.get(ratio.ours).copied(), best) {
            bench.note_number(ratio.name, "×", ours / best);
        }
    }
    let peak = bench
        .figures
        .iter()
        .filter(|(name, _)| name.ends_with(".homing.peak"))
        .map(|(_, peak)| *peak)
        .max_by(f64::total_cmp);
    if let Some(peak) = peak {
        bench.note_number("homing.peak_in_anything", "MiB", peak);
    }
}
