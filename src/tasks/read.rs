//! Texts from files: pairs, a source and a target on each line with a tab between; and columns as CoNLL's shared tasks have them, a token on
//! each line and an empty line between sentences. And the same the other way round.
//!
//! Files are UTF-8, with a byte order mark or without, and lines end as on Unix or as on Windows. Whatever is wrong is an error that
//! names the line.

use std::path::Path;

use super::{Pair, Tagged};
use crate::{Error, Result};

/// A file larger than this is refused: it is read whole.
const MAX_BYTES: u64 = 1 << 31;

/// The columns of one sentence: a row for each token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows {
    /// The number of the first row's line, from 1.
    pub line: usize,
    /// As many columns in each row.
    pub rows: Vec<Vec<String>>,
}

/// Pairs from a file.
///
/// # Errors
/// [`Error::Io`] when it cannot be read, [`Error::Format`] with the line's number when it is empty, is no UTF-8, or has a line that is not
/// `source TAB target`, neither of them empty.
pub fn pairs(path: &Path) -> Result<Vec<Pair>> {
    parse_pairs(&bytes(path)?).map_err(|message| Error::Format { path: path.into(), message })
}

/// Pairs from what a file holds.
///
/// # Errors
/// What is wrong, with the line's number.
pub fn parse_pairs(bytes: &[u8]) -> Result<Vec<Pair>, String> {
    let expected = "expected a source, a tab and a target";
    let pair = |(number, line): (usize, &str)| {
        let columns: Vec<&str> = line.split('\t').collect();
        match columns[..] {
            [source, target] if !source.trim().is_empty() && !target.trim().is_empty() => {
                Ok(Pair { source: source.into(), target: target.into() })
            }
            [_, _] => Err(format!("line {number}: the source or the target is empty; {expected}")),
            [_] => Err(format!("line {number} has no tab; {expected}")),
            _ => Err(format!("line {number} has {} tabs; {expected}", columns.len() - 1)),
        }
    };
    let pairs: Vec<Pair> = lines(text(bytes)?).map(pair).collect::<Result<_, _>>()?;
    if pairs.is_empty() { Err(format!("the file is empty; {expected} on each line")) } else { Ok(pairs) }
}

/// Lines to be predicted, the empty ones among them.
///
/// # Errors
/// What is wrong, with the line's number: no text at all, invalid UTF-8.
pub fn parse_lines(bytes: &[u8]) -> Result<Vec<&str>, String> {
    let found: Vec<&str> = text(bytes)?.lines().collect();
    let any = found.iter().any(|line| !line.trim().is_empty());
    if any { Ok(found) } else { Err("there is no text; expected one on each line".into()) }
}

/// Whether an entry of a column says that its token is the predicate.
pub fn is_predicate(entry: &str) -> bool {
    !["-", "_", "O", "0"].contains(&entry)
}

/// Tagged sentences from a file: the token is the first column, the tag the last. `predicate_column`, counted from 1, is the column that
/// marks the predicate; `-`, `_`, `O` and `0` there say that a token is none.
///
/// # Errors
/// [`Error::Io`] when it cannot be read; [`Error::Format`] with the line's number for what [`parse_rows`] refuses and for a tag that is none.
/// [`Error::Argument`] when there is no such column for the predicate.
pub fn tagged(path: &Path, predicate_column: Option<usize>) -> Result<Vec<Tagged>> {
    let wrong = |message| Error::Format { path: path.into(), message };
    let sentences = parse_rows(&bytes(path)?).map_err(wrong)?;
    let columns = sentences[0].rows[0].len();
    if columns < 2 {
        return Err(wrong(format!("line {} has one column; expected a token and a tag at least", sentences[0].line)));
    }
    if let Some(column) = predicate_column.filter(|column| !(2..columns).contains(column)) {
        let expected = match columns {
            2 => "a file with a column between the token and the tag".to_string(),
            _ => format!("2 to {}: {} has {columns} columns, the first being the token and the last the tag", columns - 1, path.display()),
        };
        return Err(Error::Argument { op: "tag", key: "--predicate-column".into(), expected, got: column.to_string() });
    }
    sentences.into_iter().map(|sentence| tag(sentence, predicate_column)).collect::<Result<_, _>>().map_err(wrong)
}

fn tag(sentence: Rows, predicate_column: Option<usize>) -> Result<Tagged, String> {
    let mut tagged = Tagged::default();
    for (number, mut row) in (sentence.line..).zip(sentence.rows) {
        let tag = row.pop().unwrap_or_default();
        if tag != "O" && tag.strip_prefix("B-").or(tag.strip_prefix("I-")).is_none_or(str::is_empty) {
            return Err(format!("line {number}: '{tag}' is no tag; expected O, B-TYPE or I-TYPE in the last column"));
        }
        tagged.tags.push(tag);
        tagged.predicate.extend(predicate_column.map(|column| is_predicate(&row[column - 1])));
        tagged.tokens.push(row.swap_remove(0));
    }
    Ok(tagged)
}

/// Sentences from what a file holds, in columns: separated by a tab where a line has one, and by spaces where it has none. Lines that say
/// `-DOCSTART-` first, as CoNLL's do, belong to no sentence.
///
/// # Errors
/// What is wrong, with the line's number: no sentence at all, invalid UTF-8, rows with different numbers of columns, an empty column.
pub fn parse_rows(bytes: &[u8]) -> Result<Vec<Rows>, String> {
    let mut sentences: Vec<Rows> = vec![];
    let mut open = false;
    for (number, line) in lines(text(bytes)?) {
        let columns: Vec<String> = match line.contains('\t') {
            true => line.split('\t').map(|column| column.trim().to_string()).collect(),
            false => line.split_whitespace().map(String::from).collect(),
        };
        if columns.iter().all(String::is_empty) || columns[0] == "-DOCSTART-" {
            open = false;
            continue;
        }
        if let Some(empty) = columns.iter().position(String::is_empty) {
            return Err(format!("line {number}: column {} is empty", empty + 1));
        }
        if let Some(first) = sentences.first().filter(|first| first.rows[0].len() != columns.len()) {
            let expected = first.rows[0].len();
            return Err(format!("line {number} has {}; expected {expected}, as on line {}", count(columns.len()), first.line));
        }
        match sentences.last_mut().filter(|_| open) {
            Some(sentence) => sentence.rows.push(columns),
            None => sentences.push(Rows { line: number, rows: vec![columns] }),
        }
        open = true;
    }
    if sentences.is_empty() { Err("the file is empty; expected a token and its tag on each line".into()) } else { Ok(sentences) }
}

/// Pairs as [`parse_pairs`] reads them. A source or a target that holds a tab or a line break would be read as something else.
pub fn to_tsv(pairs: &[Pair]) -> String {
    pairs.iter().map(|pair| format!("{}\t{}\n", pair.source, pair.target)).collect()
}

/// Sentences as [`tagged`] reads them: token and tag, and between them whether it is the predicate (`V` or `-`) where they have one.
pub fn to_conll(sentences: &[Tagged]) -> String {
    let mut text = String::new();
    for sentence in sentences {
        for (at, (token, tag)) in sentence.tokens.iter().zip(&sentence.tags).enumerate() {
            let mark = sentence.predicate.get(at).map_or("", |&is| if is { "V\t" } else { "-\t" });
            text += &format!("{token}\t{mark}{tag}\n");
        }
        text.push('\n');
    }
    text
}

fn count(columns: usize) -> String {
    if columns == 1 { "1 column".into() } else { format!("{columns} columns") }
}

/// A file's bytes.
///
/// # Errors
/// [`Error::Io`] when it cannot be read, [`Error::Format`] when it is no regular file or too large.
pub fn bytes(path: &Path) -> Result<Vec<u8>> {
    let io = |source| Error::Io { path: path.into(), source };
    let about = std::fs::metadata(path).map_err(io)?;
    // Opening a pipe would wait for a writer, and the size of a device file says nothing.
    if !about.is_file() {
        return Err(Error::Format { path: path.into(), message: "not a regular file".into() });
    }
    if about.len() > MAX_BYTES {
        return Err(Error::Format { path: path.into(), message: format!("{} bytes; at most {MAX_BYTES} are accepted", about.len()) });
    }
    std::fs::read(path).map_err(io)
}

/// The bytes as text, without a byte order mark.
fn text(bytes: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        let column = 1 + before.len() - before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        format!("line {line}: byte {column} is no UTF-8; only UTF-8 is accepted")
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Lines with their numbers, from 1.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::{Sizes, dates, roles, tag};

    #[test]
    fn pairs_are_read() {
        let text = "\u{feff}Sat 9 May 1998\t1998-05-09\r\n ä\tb \n";
        let pairs = parse_pairs(text.as_bytes()).unwrap();
        let of = |source: &str, target: &str| Pair { source: source.into(), target: target.into() };
        assert_eq!(pairs, [of("Sat 9 May 1998", "1998-05-09"), of(" ä", "b ")]);
    }

    #[test]
    fn faults_in_pairs_name_the_line() {
        for (text, message) in [
            (&b""[..], "the file is empty; expected a source, a tab and a target on each line"),
            (b"\xef\xbb\xbf", "the file is empty"),
            (b"a\tb\nc\n", "line 2 has no tab"),
            (b"a\tb\n\nc\td\n", "line 2 has no tab"),
            (b"a\tb\tc\n", "line 1 has 2 tabs"),
            (b"a\tb\n\tb\n", "line 2: the source or the target is empty"),
            (b"a\tb\nab\xff\tc\n", "line 2: byte 3 is no UTF-8"),
        ] {
            let error = parse_pairs(text).unwrap_err();
            assert!(error.starts_with(message), "{error}");
        }
    }

    #[test]
    fn lines_keep_their_numbers() {
        assert_eq!(parse_lines(b"a b\n\n c\r\n").unwrap(), ["a b", "", " c"]);
        assert!(parse_lines(b"\n \n").is_err());
    }

    fn read(text: &str, column: Option<usize>) -> Result<Vec<Tagged>, String> {
        let dir = std::env::temp_dir().join(format!("wattn-read-{}-{:?}", std::process::id(), std::thread::current().id()));
        std::fs::write(&dir, text).unwrap();
        let read = tagged(&dir, column).map_err(|error| error.to_string());
        std::fs::remove_file(&dir).unwrap();
        read
    }

    #[test]
    fn columns_are_read() {
        let sentences = read("-DOCSTART- - O\n\nAnna - B-A0\nsaw 1 O\n\n\nnew hat\t_\tO\n", Some(2)).unwrap();
        assert_eq!(sentences.len(), 2);
        assert_eq!(
            (&sentences[0].tokens[..], &sentences[0].tags[..]),
            (&["Anna".into(), "saw".into()][..], &["B-A0".into(), "O".into()][..])
        );
        assert_eq!(sentences[0].predicate, [false, true]);
        assert_eq!(sentences[1].tokens, ["new hat"]);
        assert!(read("Anna - B-A0\n", None).unwrap()[0].predicate.is_empty());
    }

    #[test]
    fn what_is_generated_can_be_written_and_read() {
        let sizes = Sizes { train: 50, valid: 0, test: 0 };
        let pairs = dates::generate(&sizes, 1).unwrap().train;
        assert_eq!(parse_pairs(to_tsv(&pairs).as_bytes()).unwrap(), pairs);
        let tagged = tag::generate(&sizes, 1).unwrap().train;
        assert_eq!(read(&to_conll(&tagged), None).unwrap(), tagged);
        let asked = roles::generate(&sizes, 1).unwrap().train;
        assert_eq!(read(&to_conll(&asked), Some(2)).unwrap(), asked);
    }

    #[test]
    fn faults_in_columns_name_the_line() {
        for (text, column, message) in [
            ("", None, "the file is empty"),
            ("\n\n", None, "the file is empty"),
            ("a O\n\nb c O\n", None, "line 3 has 3 columns; expected 2, as on line 1"),
            ("a O\nb\n", None, "line 2 has 1 column; expected 2"),
            ("a\n", None, "line 1 has one column"),
            ("a O\nb X\n", None, "line 2: 'X' is no tag"),
            ("a B-\n", None, "line 1: 'B-' is no tag"),
            ("a\t\tO\n", None, "line 1: column 2 is empty"),
            ("a O\n", Some(2), "--predicate-column = 2; expected a file with a column between"),
            ("a - O\n", Some(3), "--predicate-column = 3; expected 2 to 2"),
            ("a - O\n", Some(0), "--predicate-column = 0; expected 2 to 2"),
        ] {
            let error = read(text, column).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }
}
