// A worker that beats once for each piece of work.
//
//	go run worker.go [PIECES]      endless without
//
// The file is little-endian, and so are the processors that this is written for.
package main

import (
	"math"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

const (
	size           = 64
	clockMonotonic = 1
)

// openHeartbeat gives the mapped file; memory that nobody looks at where there is none.
func openHeartbeat() []byte {
	nowhere := make([]byte, size)
	file, err := os.OpenFile(os.Getenv("TWINWATCH_HEARTBEAT"), os.O_RDWR, 0)
	if err != nil {
		return nowhere
	}
	defer file.Close()
	status, err := file.Stat()
	if err != nil || status.Size() != size {
		return nowhere
	}
	mapped, err := syscall.Mmap(int(file.Fd()), 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nowhere
	}
	return mapped
}

func word(heartbeat []byte, offset int) *uint64 {
	return (*uint64)(unsafe.Pointer(&heartbeat[offset]))
}

func beat(heartbeat []byte) {
	var now syscall.Timespec
	syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clockMonotonic, uintptr(unsafe.Pointer(&now)), 0)
	atomic.StoreUint64(word(heartbeat, 8), uint64(now.Nano()))
	atomic.AddUint64(word(heartbeat, 16), 1)
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&heartbeat[24])), 1)
	atomic.AddUint64(word(heartbeat, 0), 1) // last
}

func main() {
	pieces := math.MaxInt
	if len(os.Args) > 1 {
		pieces, _ = strconv.Atoi(os.Args[1])
	}
	heartbeat := openHeartbeat()
	for ; pieces > 0; pieces-- {
		time.Sleep(100 * time.Millisecond) // the work
		beat(heartbeat)
	}
}
