//! Columns for people: as wide as what stands in them, two spaces apart. Knows nothing of what it shows.

/// A table with a head.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    /// One with these words at the top.
    pub(crate) fn new(head: [&str; N]) -> Self {
        Self {
            rows: vec![head.map(str::to_owned)],
        }
    }

    /// Adds a row; an empty cell shows as a dash.
    pub(crate) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| {
            if cell.is_empty() {
                "-".to_owned()
            } else {
                cell
            }
        }));
    }

    /// The lines, the head first; nothing hangs over at their ends.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut widths = [0; N];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        let line = |row: &[String; N]| {
            let cells = row
                .iter()
                .zip(widths)
                .map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        self.rows.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_no_line_ends_with_spaces() {
        let mut table = Table::new(["NAME", "BATTERY", "MODE"]);
        table.row(["Zoë’s phone".into(), "7 %".into(), "normal".into()]);
        table.row(["x".into(), String::new(), String::new()]);
        assert_eq!(
            table.lines(),
            [
                "NAME         BATTERY  MODE",
                "Zoë’s phone  7 %      normal",
                "x            -        -",
            ]
        );
    }
}
