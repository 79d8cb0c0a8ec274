//! A reader for the chunked transfer coding of HTTP/1.1 (RFC 9112, 7.1). It returns the data, and drops sizes,
//! extensions and trailers. It owns no buffer, and takes the bytes in pieces of any size.

/// The largest number of digits in a size: enough for any body that is accepted.
const SIZE_DIGITS_MAX: u8 = 15;

/// Largest length of the extensions of one chunk. Those of the last chunk and all trailers count together. All of them
/// are ignored, and would otherwise have no end.
const IGNORED_BYTES_MAX: u16 = 8192;

/// Reads one chunked body.
#[derive(Clone, Debug, Default)]
pub struct Chunked {
    state: State,
    ignored_bytes: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In the digits of a size: their number, and the size so far.
    Size { digits: u8, bytes: u64 },
    /// Between a size and the end of its line.
    Extension { bytes: u64 },
    /// Before the line feed that ends the line of a size.
    SizeEnd { bytes: u64 },
    /// In the data of a chunk: the number of bytes that are still to come.
    Data { bytes: u64 },
    /// In the line break after the data of a chunk: whether its carriage return has come.
    DataEnd { cr: bool },
    /// In the trailers: whether their current line has begun.
    Trailer { begun: bool },
    /// After the last byte of the body.
    End,
}

impl Default for State {
    fn default() -> Self {
        Self::Size { digits: 0, bytes: 0 }
    }
}

/// The meaning of the bytes at the front of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Data, never empty.
    Data(&'a [u8]),
    /// No data: the whole input was read, and the body goes on.
    More,
    /// The end of the body. The rest of the input is not part of it.
    End,
}

/// The error of bytes that are not a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a chunked body")]
pub struct NotChunked;

impl Chunked {
    /// Returns whether the body has been read to its end.
    pub fn is_finished(&self) -> bool {
        self.state == State::End
    }

    /// Reads the front of `input`. Returns the number of bytes that it read, and their meaning.
    ///
    /// # Errors
    /// [`NotChunked`], after which nothing more can be read.
    pub fn read<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Piece<'a>), NotChunked> {
        let mut at = 0;
        while self.state != State::End {
            if let State::Data { bytes } = self.state {
                let len = input[at..].len().min(usize::try_from(bytes).unwrap_or(usize::MAX));
                if len == 0 {
                    return Ok((at, Piece::More));
                }
                let left = bytes - len as u64;
                self.state = if left == 0 { State::DataEnd { cr: false } } else { State::Data { bytes: left } };
                self.ignored_bytes = 0;
                return Ok((at + len, Piece::Data(&input[at..at + len])));
            }
            let Some(&byte) = input.get(at) else { return Ok((at, Piece::More)) };
            at += 1;
            self.state = self.step(byte)?;
        }
        Ok((at, Piece::End))
    }

    /// Returns the state after a byte that is not data.
    fn step(&mut self, byte: u8) -> Result<State, NotChunked> {
        let first_byte_of = |bytes| if bytes == 0 { State::Trailer { begun: false } } else { State::Data { bytes } };
        Ok(match (self.state, byte) {
            (State::Size { digits, bytes }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if digits < SIZE_DIGITS_MAX => {
                let digit = char::from(byte).to_digit(16).ok_or(NotChunked)?;
                State::Size { digits: digits + 1, bytes: bytes << 4 | u64::from(digit) }
            }
            (State::Size { digits: 1.., bytes } | State::Extension { bytes } | State::SizeEnd { bytes }, b'\n') => {
                first_byte_of(bytes)
            }
            (State::Size { digits: 1.., bytes } | State::Extension { bytes }, b'\r') => State::SizeEnd { bytes },
            (State::Size { digits: 1.., bytes }, b';' | b' ' | b'\t') => State::Extension { bytes },
            (State::Extension { bytes }, _) => {
                self.ignore()?;
                State::Extension { bytes }
            }
            (State::DataEnd { cr: false }, b'\r') => State::DataEnd { cr: true },
            (State::DataEnd { .. }, b'\n') => State::default(),
            (State::Trailer { begun: false }, b'\n') => State::End,
            (State::Trailer { .. }, b'\n') => State::Trailer { begun: false },
            (State::Trailer { begun: false }, b'\r') => State::Trailer { begun: false },
            (State::Trailer { .. }, _) => {
                self.ignore()?;
                State::Trailer { begun: true }
            }
            _ => return Err(NotChunked),
        })
    }

    fn ignore(&mut self) -> Result<(), NotChunked> {
        self.ignored_bytes += 1;
        if self.ignored_bytes > IGNORED_BYTES_MAX { Err(NotChunked) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Reads `input` in pieces of these sizes. Returns the data, and the rest after the end, if there was an end.
    fn read(input: &[u8], pieces: impl Fn(usize) -> usize) -> Result<(Vec<u8>, Option<Vec<u8>>), NotChunked> {
        let (mut chunked, mut data, mut at) = (Chunked::default(), Vec::new(), 0);
        let mut fed = 0;
        while fed < input.len() {
            fed = input.len().min(fed + pieces(fed).max(1));
            loop {
                let (read, piece) = chunked.read(&input[at..fed])?;
                at += read;
                match piece {
                    Piece::Data(bytes) => data.extend_from_slice(bytes),
                    Piece::More => break,
                    Piece::End => return Ok((data, Some(input[at..].to_vec()))),
                }
            }
        }
        Ok((data, None))
    }

    #[test]
    fn bodies_and_what_follows_them() {
        for (input, data, rest) in [
            ("0\r\n\r\n", "", Some("")),
            ("5\r\nhello\r\n0\r\n\r\nGET /", "hello", Some("GET /")),
            ("5;a=b;c\r\nhello\r\n00 ;x\r\nTrailer: 1\r\nOther: 2\r\n\r\n", "hello", Some("")),
            ("A\r\n0123456789\r\n1\n.\n0\n\nx", "0123456789.", Some("x")),
            ("5\r\nhel", "hel", None),
            ("5\r\nhello\r\n0\r\n", "hello", None),
        ] {
            let expected = Ok((data.as_bytes().to_vec(), rest.map(|rest| rest.as_bytes().to_vec())));
            for size in 1..=input.len() {
                assert_eq!(read(input.as_bytes(), |_| size), expected, "{input:?} by {size}");
            }
        }
    }

    #[test]
    fn what_is_no_chunked_body() {
        for input in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "5\r\nhelloX",
            "5\r\nhello0\r\n",
            "1000000000000000\r\n",
            ";\r\n",
            "0x5\r\n",
            "5\rx\nhello",
            "5;x\rx\nhello",
        ] {
            assert_eq!(read(input.as_bytes(), |_| 1), Err(NotChunked), "{input:?}");
        }
        let endless = format!("0\r\n{}", "x".repeat(10_000));
        assert_eq!(read(endless.as_bytes(), |_| 64), Err(NotChunked));
        let endless = format!("1;{}", "x".repeat(10_000));
        assert_eq!(read(endless.as_bytes(), |_| 64), Err(NotChunked));
        let talkative = format!("1;{}\r\n.\r\n", "x".repeat(1000)).repeat(50);
        assert_eq!(read(talkative.as_bytes(), |_| 64), Ok((vec![b'.'; 50], None)));
    }

    proptest! {
        #[test]
        fn what_was_cut_into_chunks_comes_out_whole(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            cut in 1_usize..50,
        ) {
            let mut input = Vec::new();
            for chunk in &chunks {
                input.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                input.extend_from_slice(chunk);
                input.extend_from_slice(b"\r\n");
            }
            input.extend_from_slice(b"0\r\n\r\nrest");
            prop_assert_eq!(read(&input, |_| cut), Ok((chunks.concat(), Some(b"rest".to_vec()))));
        }

        #[test]
        fn no_bytes_make_it_panic(input in prop::collection::vec(any::<u8>(), 0..200), cut in 1_usize..50) {
            let _ = read(&input, |_| cut);
        }
    }
}
