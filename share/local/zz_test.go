package local
import ("testing";"os";"path/filepath";"golang.org/x/sys/unix")
func BenchmarkZ(b *testing.B){
 dir := real(b)
 os.MkdirAll(filepath.Join(dir, "a/b/c/d"), 0o755); os.WriteFile(filepath.Join(dir, "a/b/c/d/file"), []byte("x"), 0o644)
 p:=filepath.Join(dir,"a/b/c/d/file")
 b.Run("getppid", func(b *testing.B){for b.Loop(){unix.Getppid()}})
 b.Run("lstat", func(b *testing.B){for b.Loop(){os.Lstat(p)}})
 b.Run("open", func(b *testing.B){for b.Loop(){f,_:=os.Open(p); f.Close()}})
 fd,_:=unix.Open(dir,unix.O_PATH,0)
 b.Run("statx", func(b *testing.B){for b.Loop(){statAt(fd,"a")}})
 b.Run("fstatat", func(b *testing.B){for b.Loop(){var s unix.Stat_t; unix.Fstatat(fd,"a",&s,unix.AT_SYMLINK_NOFOLLOW)}})
 b.Run("openat2", func(b *testing.B){for b.Loop(){f,_:=openat2(fd,"a/b/c/d/file",unix.O_PATH,unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS); unix.Close(f)}})
 b.Run("openat2abs", func(b *testing.B){for b.Loop(){f,_:=openat2(unix.AT_FDCWD,p,unix.O_PATH,unix.RESOLVE_NO_SYMLINKS); unix.Close(f)}})
}
