//! Files as the system gives them: reading a text or a password with a bound, and how many files may be open.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use rlimit::Resource;

/// The bytes of a file with a password, at most.
const PASSWORD_BYTES_MAX: u64 = 4096;

/// Reads a text file of at most `bytes_max` bytes. A longer one was probably named by mistake.
///
/// # Errors
/// The file cannot be read, is longer, or is not UTF-8.
pub fn read_text(path: &Path, bytes_max: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::other(format!("longer than {bytes_max} bytes")));
    }
    io::read_to_string(bytes.as_slice())
}

/// Reads the password that a file holds. The ends of lines after it are no part of it.
///
/// # Errors
/// The file cannot be read, is too long, or holds no password.
pub fn read_password(path: &Path) -> io::Result<String> {
    let mut text = read_text(path, PASSWORD_BYTES_MAX)?;
    text.truncate(text.trim_end_matches(['\n', '\r']).len());
    if text.is_empty() || text.contains('\0') { Err(io::Error::other("holds no password")) } else { Ok(text) }
}

/// Raises the limit on open files of this process, and of its later children, as far as the system allows, and returns
/// it. A hard limit below `needed` is first raised to `needed`, which only root may do. Then the soft limit is raised
/// to the hard one.
///
/// # Errors
/// The limit cannot be read or set.
pub fn raise_file_limit(needed: u64) -> io::Result<u64> {
    let (_, hard) = Resource::NOFILE.get()?;
    if hard < needed {
        // Without the right to do this, the hard limit stays as it is, and the caller sees it in the result.
        let _ = Resource::NOFILE.set(needed, needed);
    }
    rlimit::increase_nofile_limit(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_too_long_or_not_utf8_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "four").unwrap();
        assert_eq!(read_text(file.path(), 4).unwrap(), "four");
        assert_eq!(read_text(file.path(), 3).unwrap_err().to_string(), "longer than 3 bytes");
        fs::write(file.path(), b"\xff").unwrap();
        assert_eq!(read_text(file.path(), 4).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_password_is_one_line_of_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let read = |bytes: &[u8]| {
            fs::write(file.path(), bytes).unwrap();
            read_password(file.path()).map_err(|error| error.to_string())
        };
        assert_eq!(read(b" secret \r\n\n"), Ok(" secret ".to_owned()));
        for none in [&b""[..], b"\n", b"a\0b"] {
            assert_eq!(read(none), Err("holds no password".to_owned()));
        }
        assert_eq!(read(&[b'a'; 4097]), Err("longer than 4096 bytes".to_owned()));
    }

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let allowed = raise_file_limit(64).unwrap();
        assert_eq!(Resource::NOFILE.get().unwrap(), (allowed, allowed));
    }
}
