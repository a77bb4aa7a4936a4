//! Manual pages: Markdown in docs/man becomes roff for man(1) under target/man. It must not add to what the pages say.

use crate::Outcome;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use std::path::Path;

/// Renders every page; prints where each lies.
pub(crate) fn run() -> Outcome {
    let root = crate::house::root();
    let target = root.join("target/man");
    std::fs::create_dir_all(&target)
        .map_err(|error| format!("cannot make {}: {error}", target.display()))?;
    for (name, text) in pages(&root.join("docs/man"))? {
        let path = target.join(&name);
        std::fs::write(
            &path,
            render(&text).map_err(|fault| format!("{name}: {fault}"))?,
        )
        .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}

/// Names without `.md`, and texts, in the order of their names.
fn pages(folder: &Path) -> Result<Vec<(String, String)>, String> {
    let unreadable = |error| format!("cannot read {}: {error}", folder.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if let Some(name) = name.strip_suffix(".md") {
            found.push((
                name.to_owned(),
                std::fs::read_to_string(entry.path()).map_err(unreadable)?,
            ));
        }
    }
    found.sort();
    Ok(found)
}

/// One page. The first line is `# NAME SECTION "SOURCE" "MANUAL"`, the rest ordinary Markdown with definition lists.
fn render(text: &str) -> Result<String, String> {
    let (first, body) = text.split_once('\n').ok_or("the page is empty")?;
    let title = first
        .strip_prefix("# ")
        .ok_or("the first line must begin with \"# NAME SECTION\"")?;
    let mut out = Page {
        text: format!(".TH {title}\n"),
    };
    for event in Parser::new_ext(body, Options::ENABLE_DEFINITION_LIST) {
        out.take(event)?;
    }
    Ok(out.text)
}

/// The page so far.
struct Page {
    text: String,
}

impl Page {
    /// Begins a new line, unless one has just begun.
    fn fresh(&mut self) {
        if !self.text.ends_with('\n') {
            self.text.push('\n');
        }
    }

    fn request(&mut self, request: &str) {
        self.fresh();
        self.text.push_str(request);
        self.text.push('\n');
    }

    fn words(&mut self, words: &str) {
        for (index, line) in words.split('\n').enumerate() {
            if index > 0 {
                self.fresh();
            }
            // A dot or quote at the beginning of a line would be a request.
            if self.text.ends_with('\n') && line.starts_with(['.', '\'']) {
                self.text.push_str("\\&");
            }
            self.text
                .push_str(&line.replace('\\', "\\e").replace('-', "\\-"));
        }
    }

    fn take(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::Start(tag) => return self.open(&tag),
            Event::End(tag) => self.close(tag),
            Event::Text(words) => self.words(&words),
            Event::Code(words) => {
                self.text.push_str("\\fB");
                self.words(&words);
                self.text.push_str("\\fR");
            }
            Event::SoftBreak => self.fresh(),
            Event::HardBreak => self.request(".br"),
            other => return Err(format!("cannot become a manual page: {other:?}")),
        }
        Ok(())
    }

    fn open(&mut self, tag: &Tag<'_>) -> Result<(), String> {
        match tag {
            Tag::Heading { .. } => {
                self.fresh();
                self.text.push_str(".SH ");
            }
            Tag::Paragraph => self.request(".PP"),
            Tag::DefinitionListTitle => self.request(".TP"),
            Tag::DefinitionListDefinition => self.fresh(),
            Tag::Item => self.request(".IP \\(bu 2"),
            Tag::Strong => self.text.push_str("\\fB"),
            Tag::Emphasis => self.text.push_str("\\fI"),
            Tag::CodeBlock(_) => self.request(".PP\n.nf\n.RS"),
            Tag::DefinitionList | Tag::List(_) => {}
            other => return Err(format!("cannot become a manual page: {other:?}")),
        }
        Ok(())
    }

    fn close(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Strong | TagEnd::Emphasis => self.text.push_str("\\fR"),
            TagEnd::CodeBlock => self.request(".RE\n.fi"),
            TagEnd::Heading(_) => self.fresh(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_keeps_its_headings_flags_and_examples() {
        let page = "# tool 1 \"Homing\" \"User Commands\"\n\n## OPTIONS\n\n**--home** *DIR*\n:   The folder.\n\n\
                    ## EXAMPLES\n\n    .hidden --flag\n";
        let roff = render(page).unwrap();
        assert_eq!(
            roff,
            ".TH tool 1 \"Homing\" \"User Commands\"\n.SH OPTIONS\n.TP\n\\fB\\-\\-home\\fR \\fIDIR\\fR\nThe folder.\n\
             .SH EXAMPLES\n.PP\n.nf\n.RS\n\\&.hidden \\-\\-flag\n.RE\n.fi\n"
        );
    }

    #[test]
    fn every_shipped_page_can_be_rendered() {
        let pages = pages(&crate::house::root().join("docs/man")).unwrap();
        assert!(pages.len() >= 4);
        for (name, text) in pages {
            render(&text).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        }
    }
}
